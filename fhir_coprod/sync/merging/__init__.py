"""From the records of several EHRs to one resource."""
