// HAPI's generic client signs in by SMART Backend Services and searches: java SignIn.java BASE CLIENT KID KEY.pem
// (HAPI has no sign-in of its own, so the assertion is signed here, with Java's own cryptography.) What happened goes
// to stdout as one JSON object.

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.api.ServerValidationModeEnum;
import ca.uhn.fhir.rest.client.interceptor.BearerTokenAuthInterceptor;
import ca.uhn.fhir.rest.server.exceptions.AuthenticationException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.ServiceRequest;

public class SignIn {
  static String member(String json, String name) {
    Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"]*)\"").matcher(json);
    if (!found.find()) throw new IllegalStateException("no " + name + " in " + json);
    return found.group(1);
  }

  static String part(byte[] bytes) {
    return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
  }

  static String assertion(String client, String kid, String pem, String audience) throws Exception {
    byte[] der = Base64.getMimeDecoder().decode(pem.replaceAll("-----[A-Z ]+-----", ""));
    long now = System.currentTimeMillis() / 1000;
    String header = "{\"alg\":\"ES384\",\"typ\":\"JWT\",\"kid\":\"" + kid + "\"}";
    String claims = "{\"iss\":\"" + client + "\",\"sub\":\"" + client + "\",\"aud\":\"" + audience + "\",\"jti\":\""
        + UUID.randomUUID() + "\",\"exp\":" + (now + 240) + "}";
    String text = part(header.getBytes(StandardCharsets.UTF_8)) + "." + part(claims.getBytes(StandardCharsets.UTF_8));
    Signature signing = Signature.getInstance("SHA384withECDSAinP1363Format");
    signing.initSign(KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der)));
    signing.update(text.getBytes(StandardCharsets.US_ASCII));
    return text + "." + part(signing.sign());
  }

  public static void main(String[] given) throws Exception {
    String base = given[0];
    HttpClient http = HttpClient.newHttpClient();
    String config = http.send(HttpRequest.newBuilder(URI.create(base + "/.well-known/smart-configuration")).build(),
        HttpResponse.BodyHandlers.ofString()).body();
    String place = member(config, "token_endpoint");
    String form = "grant_type=client_credentials&scope=system%2FServiceRequest.rs&client_assertion_type="
        + "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="
        + assertion(given[1], given[2], Files.readString(Path.of(given[3])), place);
    String answer = http.send(HttpRequest.newBuilder(URI.create(place))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .POST(HttpRequest.BodyPublishers.ofString(form)).build(), HttpResponse.BodyHandlers.ofString()).body();

    FhirContext context = FhirContext.forR4();
    context.getRestfulClientFactory().setServerValidationMode(ServerValidationModeEnum.NEVER);
    IGenericClient bare = context.newRestfulGenericClient(base);
    int refused = 0;
    try {
      bare.search().forResource(ServiceRequest.class).returnBundle(Bundle.class).execute();
    } catch (AuthenticationException error) {
      refused = error.getStatusCode();
    }
    IGenericClient client = context.newRestfulGenericClient(base);
    client.registerInterceptor(new BearerTokenAuthInterceptor(member(answer, "access_token")));
    Bundle found = client.search().forResource(ServiceRequest.class).returnBundle(Bundle.class).execute();
    String ids = found.getEntry().stream().map(one -> "\"" + one.getResource().getIdElement().getIdPart() + "\"")
        .collect(Collectors.joining(","));
    System.out.println("{\"refused\": " + refused + ", \"found\": [" + ids + "]}");
  }
}
