import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import software.amazon.event.ruler.Machine;

/**
 * Asks AWS's own matcher, one question a line: {"rule": "…", "event": "…"}, both JSON as text.
 *
 * Answers each with a line: true, false, or why the rule is refused.
 */
public class Matcher {
    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader questions =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            JsonNode question = json.readTree(line);
            answers.println(answer(question.get("rule").asText(), question.get("event").asText()));
        }
    }

    private static String answer(String rule, String event) throws Exception {
        Machine machine = Machine.builder().build();
        try {
            machine.addRule("rule", rule);
        } catch (Exception refusal) {
            return ("refused: " + refusal).replaceAll("\\s+", " ");
        }
        return String.valueOf(!machine.rulesForJSONEvent(event).isEmpty());
    }
}
