import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.WorkerContextValidationSupportAdapter;
import org.hl7.fhir.r5.elementmodel.Element;
import org.hl7.fhir.r5.elementmodel.Manager;
import org.hl7.fhir.r5.fhirpath.ExpressionNode;
import org.hl7.fhir.r5.fhirpath.FHIRPathEngine;
import org.hl7.fhir.r5.fhirpath.IHostApplicationServices;
import org.hl7.fhir.r5.model.Base;
import org.hl7.fhir.validation.instance.utils.FHIRPathExpressionFixer;

/**
 * HL7's own FHIRPath engine, as its validator uses it on R4, over standard input and output.
 *
 * Each line in: {"resource": "...", "rules": [{"focus": "path or empty", "expression": "...", "key": "..."}]}
 * Each line out: for each rule a list with true, false or "error: ..." for each value at its focus.
 */
public class FhirPathOracle {

  public static void main(String[] args) throws Exception {
    FhirContext r4 = FhirContext.forR4();
    var support = new ValidationSupportChain(
        new DefaultProfileValidationSupport(r4), new SnapshotGeneratingValidationSupport(r4));
    var context = WorkerContextValidationSupportAdapter.newVersionSpecificWorkerContextWrapper(support);
    FHIRPathEngine engine = new FHIRPathEngine(context);
    engine.setHostServices((IHostApplicationServices) Proxy.newProxyInstance(
        FhirPathOracle.class.getClassLoader(), new Class<?>[] {IHostApplicationServices.class},
        FhirPathOracle::answer));
    Map<String, ExpressionNode> parsed = new HashMap<>();
    Gson gson = new Gson();
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    out.println("ready");
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonObject question = gson.fromJson(line, JsonObject.class);
      byte[] bytes = question.get("resource").getAsString().getBytes(StandardCharsets.UTF_8);
      Element resource = Manager.parseSingle(context, new ByteArrayInputStream(bytes), Manager.FhirFormat.JSON);
      JsonArray answers = new JsonArray();
      for (JsonElement each : question.getAsJsonArray("rules")) {
        JsonObject rule = each.getAsJsonObject();
        String text = FHIRPathExpressionFixer.fixExpr(
            rule.get("expression").getAsString(), rule.get("key").getAsString(), "4.0.1");
        JsonArray answer = new JsonArray();
        try {
          ExpressionNode expression = parsed.computeIfAbsent(text, engine::parse);
          String focus = rule.get("focus").getAsString();
          List<Base> values = new ArrayList<>();
          if (focus.isEmpty()) {
            values.add(resource);
          } else {
            values.addAll(engine.evaluate(resource, resource, resource, resource,
                parsed.computeIfAbsent(focus, engine::parse)));
          }
          for (Base value : values) {
            try {
              answer.add(engine.evaluateToBoolean(resource, resource, resource, value, expression));
            } catch (Exception problem) {
              answer.add("error: " + problem.getMessage());
            }
          }
        } catch (Exception problem) {
          answer.add("error: " + problem.getMessage());
        }
        answers.add(answer);
      }
      out.println(gson.toJson(answers));
    }
  }

  /** Resolves contained resources; knows no other functions, profiles or value sets. */
  private static Object answer(Object proxy, Method method, Object[] arguments) {
    switch (method.getName()) {
      case "resolveReference":
        for (Element contained : ((Element) arguments[1]).getChildren("contained")) {
          if (arguments[2].equals("#" + contained.getChildValue("id"))) {
            return contained;
          }
        }
        return null;
      case "resolveConstant":
      case "executeFunction":
        return new ArrayList<Base>();
      default:
        return method.getReturnType() == boolean.class ? Boolean.FALSE : null;
    }
  }
}
