"""Looks whether everything in a store is as it was written, and makes anew what can be made from the rest.

check.look(database, tell)          every row of the store against the others, and against its seal
check.mend(database, writer, tell)  the same, and repairs what it can
check.glance(session)               the little that a start has time for
"""
