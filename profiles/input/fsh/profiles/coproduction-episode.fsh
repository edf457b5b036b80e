Profile: CoproductionEpisode
Parent: EpisodeOfCare
Id: coproduction-episode
Title: "Episode with one person to turn to"
Description: "The time for which one professional keeps the whole together for the patient (relational continuity)."
* ^purpose = "Status: active, onhold, finished: the care manager's organisation. Source: Continuity: becoming part of the patient's story (migrant clinic, Denmark)."
* status MS
* patient MS
* managingOrganization MS
* period 1..1 MS
* referralRequest MS
* careManager 1..1 MS
* team MS
