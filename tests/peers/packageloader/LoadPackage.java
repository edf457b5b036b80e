import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.NpmPackageValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/**
 * Loads a FHIR package as HAPI FHIR does (by HL7's reader of packages), and validates by it with HL7's validator.
 *
 * <pre>LoadPackage NAME.tgz URL...</pre>
 *
 * The file is on the class path. It prints, for each URL, whether there is a StructureDefinition; then, for each resource
 * on standard input, one a line, the number of errors.
 */
public final class LoadPackage {
    public static void main(String[] arguments) throws Exception {
        FhirContext context = FhirContext.forR4Cached();
        NpmPackageValidationSupport loaded = new NpmPackageValidationSupport(context);
        loaded.loadPackageFromClasspath("classpath:" + arguments[0]);
        for (int i = 1; i < arguments.length; i++) {
            System.out.println(loaded.fetchStructureDefinition(arguments[i]) != null);
        }
        FhirInstanceValidator module = new FhirInstanceValidator(new ValidationSupportChain(
            new DefaultProfileValidationSupport(context),
            loaded,
            new CommonCodeSystemsTerminologyService(context),
            new InMemoryTerminologyServerValidationSupport(context)));
        module.setAnyExtensionsAllowed(true);
        FhirValidator validator = context.newValidator().registerValidatorModule(module);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(validator.validateWithResult(line).getMessages().stream()
                .filter(each -> each.getSeverity().compareTo(ResultSeverityEnum.ERROR) >= 0)
                .count());
        }
    }

    private LoadPackage() {}
}
