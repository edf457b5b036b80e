package org.fhircoprod.peers;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import ca.uhn.fhir.validation.ValidationResult;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirDefaultPolicyAdvisor;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r5.context.IWorkerContext;
import org.hl7.fhir.r5.elementmodel.Element;
import org.hl7.fhir.r5.elementmodel.JsonParser;
import org.hl7.fhir.r5.model.CanonicalResource;
import org.hl7.fhir.r5.model.CanonicalType;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.IValidatorResourceFetcher;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.validation.instance.InstanceValidator;

/**
 * Reads one resource per line and prints one verdict per line, in order.
 *
 * <pre>hl7validator FOLDER...</pre>
 *
 * Each folder holds definitions (StructureDefinition, ValueSet, CodeSystem) as JSON files. A verdict is
 * <pre>{"ok": true, "micros": 812, "messages": [{"severity", "location", "id", "text"}]}</pre>
 * The first line printed is {"ready": true}: everything before it is warming up.
 */
public final class Hl7Validator {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] folders) throws IOException {
        PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        FhirContext context = FhirContext.forR4Cached();
        FhirValidator validator = validator(context, folders);
        validator.validateWithResult("{\"resourceType\":\"Patient\"}");
        out.println("{\"ready\":true}");
        out.flush();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8), 1 << 20);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (line.isBlank()) {
                continue;
            }
            out.println(JSON.writeValueAsString(verdict(validator, line)));
            out.flush();
        }
    }

    private static FhirValidator validator(FhirContext context, String[] folders) throws IOException {
        PrePopulatedValidationSupport own = new PrePopulatedValidationSupport(context);
        for (String folder : folders) {
            for (Path file : definitions(Path.of(folder))) {
                IBaseResource resource = context.newJsonParser().parseResource(Files.readString(file));
                own.addResource(resource);
            }
        }
        ValidationSupportChain chain = new ValidationSupportChain(
            new DefaultProfileValidationSupport(context),
            own,
            new SnapshotGeneratingValidationSupport(context),
            new CommonCodeSystemsTerminologyService(context),
            new InMemoryTerminologyServerValidationSupport(context));
        FhirInstanceValidator module = new FhirInstanceValidator(chain);
        module.setAnyExtensionsAllowed(true);
        module.setErrorForUnknownProfiles(false);
        module.setValidatorPolicyAdvisor(new CheckReferenceTypes());
        module.setValidatorResourceFetcher(new BelievesReferences());
        return context.newValidator().registerValidatorModule(module);
    }

    /** A reference names its target's type even where nobody can fetch the target: hold it to that. */
    private static final class CheckReferenceTypes extends FhirDefaultPolicyAdvisor {
        @Override
        public ReferenceValidationPolicy policyForReference(
            IResourceValidator validator, Object context, String path, String url, ReferenceDestinationType to) {
            return to == ReferenceDestinationType.EXTERNAL
                ? ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS
                : ReferenceValidationPolicy.CHECK_VALID;
        }
    }

    /** There is no server to fetch from: every URL may exist, and is of the type that it names. */
    private static final class BelievesReferences implements IValidatorResourceFetcher {
        private static final Pattern LITERAL = Pattern.compile("(?:https?://.*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})");

        @Override
        public Element fetch(IResourceValidator validator, Object context, String url) throws IOException {
            Matcher literal = LITERAL.matcher(url);
            IWorkerContext definitions = ((InstanceValidator) validator).getContext();
            if (!literal.matches() || !definitions.getResourceNames().contains(literal.group(1))) {
                return null;
            }
            String stub = "{\"resourceType\":\"" + literal.group(1) + "\",\"id\":\"" + literal.group(2) + "\"}";
            return new JsonParser(definitions)
                .parse(new ByteArrayInputStream(stub.getBytes(StandardCharsets.UTF_8)))
                .get(0)
                .getElement();
        }

        @Override
        public boolean resolveURL(
            IResourceValidator validator, Object context, String path, String url, String type,
            boolean canonical, List<CanonicalType> targets) {
            return true;
        }

        @Override
        public byte[] fetchRaw(IResourceValidator validator, String url) {
            return new byte[0];
        }

        @Override
        public IValidatorResourceFetcher setLocale(Locale locale) {
            return this;
        }

        @Override
        public CanonicalResource fetchCanonicalResource(IResourceValidator validator, Object context, String url) {
            return null;
        }

        @Override
        public boolean fetchesCanonicalResource(IResourceValidator validator, String url) {
            return false;
        }

        @Override
        public Set<ResourceVersionInformation> fetchCanonicalResourceVersions(
            IResourceValidator validator, Object context, String url) {
            return Set.of();
        }
    }

    private static List<Path> definitions(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(file -> file.getFileName().toString().matches(
                    "(StructureDefinition|ValueSet|CodeSystem)-.*\\.json"))
                .sorted()
                .toList();
        }
    }

    private static ObjectNode verdict(FhirValidator validator, String resource) {
        ObjectNode answer = JSON.createObjectNode();
        long start = System.nanoTime();
        try {
            ValidationResult result = validator.validateWithResult(resource);
            answer.put("ok", result.isSuccessful());
            answer.put("micros", (System.nanoTime() - start) / 1000);
            ArrayNode messages = answer.putArray("messages");
            for (SingleValidationMessage message : result.getMessages()) {
                messages.addObject()
                    .put("severity", message.getSeverity().getCode())
                    .put("location", message.getLocationString())
                    .put("id", message.getMessageId())
                    .put("text", message.getMessage());
            }
        } catch (RuntimeException | StackOverflowError error) {
            answer.put("ok", false);
            answer.put("micros", (System.nanoTime() - start) / 1000);
            answer.putArray("messages").addObject()
                .put("severity", "fatal")
                .put("location", "")
                .put("id", error.getClass().getSimpleName())
                .put("text", String.valueOf(error.getMessage()));
        }
        return answer;
    }

    private Hl7Validator() {}
}
