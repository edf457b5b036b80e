"""The real third-party servers and programs that tests talk to.

registry.py    which peers there are, and whether each is here
shared.py      one start per test run, whatever the number of xdist workers; everything ends with the run
guard.py       the small process that holds a peer and ends it
postgresql.py  PostgreSQL
servers.py     HAPI FHIR (hapi/, Java) and the Medplum router (medplum/, Node)
chromium.py    the browser
hospital.py    a synthetic hospital (clinosim/, Python)
fixtures.py    the pytest plugin that offers them
"""
