package org.fhircoprod.peers;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.server.exceptions.BaseServerResponseException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.Enumerations.AdministrativeGender;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Reference;

/**
 * HAPI's generic client against a server: {@code HapiClient BASE MARK}. What happened goes to stdout as one JSON
 * object, in the words of tests/api/test_foreign_clients.py.
 */
public final class HapiClient {

  private static final String URN = "urn:uuid:5b3ba4d6-6a0e-4a26-8d8d-9c4f6e5e0b1a";

  private final IGenericClient client;
  private final String mark;
  private final Map<String, Object> report = new LinkedHashMap<>();

  private HapiClient(String base, String mark) {
    // As it comes: the client reads the server's CapabilityStatement before its first call.
    this.client = FhirContext.forR4().newRestfulGenericClient(base);
    this.mark = mark;
  }

  public static void main(String[] arguments) throws Exception {
    HapiClient run = new HapiClient(arguments[0], arguments[1]);
    run.everything();
    System.out.println(new ObjectMapper().writeValueAsString(run.report));
  }

  private void everything() {
    CapabilityStatement capabilities = client.capabilities().ofType(CapabilityStatement.class).execute();
    report.put("software", capabilities.getSoftware().getName());

    List<String> created = new ArrayList<>();
    for (String name : List.of("a", "b", "c", "d", "e")) {
      created.add(client.create().resource(patient(name)).execute().getId().getIdPart());
    }
    report.put("created", created);
    search();
    conditional();
    transaction();
    versions(created.get(0));

    IdType last = new IdType("Patient", created.get(created.size() - 1));
    client.delete().resourceById(last).execute();
    report.put("gone", refusal(() -> client.read().resource(Patient.class).withId(last).execute()));
  }

  private void search() {
    int pages = 0;
    List<String> found = new ArrayList<>();
    Bundle bundle =
        client
            .search()
            .forResource(Patient.class)
            .where(Patient.FAMILY.matches().value(mark))
            .sort()
            .ascending(Patient.GIVEN)
            .count(2)
            .returnBundle(Bundle.class)
            .execute();
    while (bundle != null) {
      pages++;
      bundle.getEntry().forEach(entry -> found.add(entry.getResource().getIdElement().getIdPart()));
      bundle = bundle.getLink(Bundle.LINK_NEXT) == null ? null : client.loadPage().next(bundle).execute();
    }
    report.put("pages", pages);
    report.put("found", found);
  }

  private void conditional() {
    List<Object> turns = new ArrayList<>();
    for (int turn = 0; turn < 2; turn++) {
      MethodOutcome outcome =
          client
              .create()
              .resource(patient("once"))
              .conditional()
              .where(Patient.IDENTIFIER.exactly().systemAndIdentifier("urn:client", mark + "-once"))
              .execute();
      turns.add(Map.of("id", outcome.getId().getIdPart(), "status", outcome.getResponseStatusCode()));
    }
    report.put("conditional", turns);
  }

  private void transaction() {
    Observation observation = new Observation();
    observation.setStatus(Observation.ObservationStatus.FINAL);
    observation.getCode().setText(mark);
    observation.setSubject(new Reference(URN));
    Bundle bundle = new Bundle().setType(Bundle.BundleType.TRANSACTION);
    bundle
        .addEntry()
        .setFullUrl(URN)
        .setResource(patient("sent-along"))
        .getRequest()
        .setMethod(Bundle.HTTPVerb.POST)
        .setUrl("Patient");
    bundle
        .addEntry()
        .setResource(observation)
        .getRequest()
        .setMethod(Bundle.HTTPVerb.POST)
        .setUrl("Observation");
    Bundle answer = client.transaction().withBundle(bundle).execute();
    IdType stored = new IdType(answer.getEntry().get(1).getResponse().getLocation());
    Observation read = client.read().resource(Observation.class).withId(stored.getIdPart()).execute();
    report.put(
        "transaction",
        Map.of(
            "statuses",
            answer.getEntry().stream().map(entry -> entry.getResponse().getStatus()).toList(),
            "patient",
            new IdType(answer.getEntryFirstRep().getResponse().getLocation()).getIdPart(),
            "subject",
            read.getSubject().getReference()));
  }

  private void versions(String id) {
    Patient first = client.read().resource(Patient.class).withId(id).execute();
    Patient second = first.copy();
    second.setGender(AdministrativeGender.FEMALE);
    client.update().resource(second).withAdditionalHeader("If-Match", "W/\"1\"").execute();
    Bundle history =
        client.history().onInstance(new IdType("Patient", id)).returnBundle(Bundle.class).execute();
    report.put(
        "history",
        history.getEntry().stream()
            .map(entry -> entry.getResource().getMeta().getVersionId())
            .toList());
    Patient late = first.copy();
    late.setGender(AdministrativeGender.MALE);
    report.put(
        "conflict",
        refusal(() -> client.update().resource(late).withAdditionalHeader("If-Match", "W/\"1\"").execute()));
  }

  private Patient patient(String name) {
    Patient patient = new Patient();
    patient.addIdentifier().setSystem("urn:client").setValue(mark + "-" + name);
    patient.addName().setFamily(mark).addGiven(name);
    return patient;
  }

  private static Map<String, Object> refusal(Runnable attempt) {
    try {
      attempt.run();
      return Map.of("status", 0, "text", "");
    } catch (BaseServerResponseException error) {
      OperationOutcome outcome = (OperationOutcome) error.getOperationOutcome();
      String text = outcome.getIssueFirstRep().getDiagnostics();
      return Map.of("status", error.getStatusCode(), "text", text);
    }
  }
}
