"""Keeping the coproduction layer in step with several departments' EHRs.

engine.run(store, settings)      pull, link, write; a report per EHR
engine.check(ehr)                what an EHR can do, and the plan that follows
observed                         what can be seen of the EHRs at present: for the watch and the pages
dead_letters                     what could not be taken in, and trying again
staging.feed.feeds(connection)   how far each type of each EHR is known

Nothing is imported here: the watch asks `observed` without loading HTTP clients.
"""
