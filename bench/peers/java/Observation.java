import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.StringJoiner;
import org.apache.kafka.common.header.Headers;

/**
 * What one event says, small enough for the repartition topic: a prediction has a model, a
 * feedback none. There are no labels where a feedback says that the prediction was right.
 */
record Observation(long timeNanos, String labels, String model) {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Null for the event of a request, which says nothing. */
    static Observation of(Headers headers, byte[] body) {
        String type = text(headers, "ce_type");
        if (type.endsWith(".request")) {
            return null;
        }
        Instant time = Instant.parse(text(headers, "ce_time"));
        long nanos = time.getEpochSecond() * 1_000_000_000L + time.getNano();
        boolean answer = type.endsWith(".response");
        String model = answer ? text(headers, "ce_inferenceservicename") : "";
        try (JsonParser parser = JSON.createParser(body)) {
            parser.nextToken();
            return new Observation(nanos, answer ? labels(parser) : truth(parser), model);
        } catch (IOException error) {
            throw new IllegalArgumentException(error);
        }
    }

    byte[] toBytes() {
        byte[] labelBytes = labels.getBytes(StandardCharsets.UTF_8);
        byte[] modelBytes = model.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(10 + labelBytes.length + modelBytes.length)
                .putLong(timeNanos).putShort((short) labelBytes.length)
                .put(labelBytes).put(modelBytes)
                .array();
    }

    static Observation fromBytes(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        long timeNanos = buffer.getLong();
        int end = 10 + buffer.getShort();
        return new Observation(
                timeNanos,
                new String(bytes, 10, end - 10, StandardCharsets.UTF_8),
                new String(bytes, end, bytes.length - end, StandardCharsets.UTF_8));
    }

    private static String text(Headers headers, String name) {
        return new String(headers.lastHeader(name).value(), StandardCharsets.UTF_8);
    }

    /** The labels of the truth in a feedback; its request and response are passed over. */
    private static String truth(JsonParser parser) throws IOException {
        String name;
        while ((name = parser.nextFieldName()) != null) {
            parser.nextToken();
            if (name.equals("truth")) {
                return labels(parser);
            }
            parser.skipChildren();
        }
        return "";
    }

    /** The label of each row of a message; trees are made of its data alone. */
    private static String labels(JsonParser parser) throws IOException {
        String name;
        while ((name = parser.nextFieldName()) != null) {
            parser.nextToken();
            if (name.equals("data")) {
                return seldon(JSON.readTree(parser));
            }
            if (name.equals("outputs")) {
                return inference(JSON.<JsonNode>readTree(parser).path(0));
            }
            parser.skipChildren();
        }
        return "";
    }

    private static String seldon(JsonNode data) {
        JsonNode names = data.path("names");
        StringJoiner labels = new StringJoiner(Request.SEPARATOR);
        for (JsonNode row : data.path("ndarray")) {
            labels.add(label(row, 0, row.size(), names));
        }
        return labels.toString();
    }

    private static String inference(JsonNode output) {
        JsonNode values = output.path("data");
        int rows = output.path("shape").path(0).intValue();
        int width = values.size() / rows;
        StringJoiner labels = new StringJoiner(Request.SEPARATOR);
        for (int row = 0; row < rows; row++) {
            labels.add(label(values, row * width, width, MissingNode.getInstance()));
        }
        return labels.toString();
    }

    /** The class of several scores, the side of a probability, or an integer as it stands. */
    private static String label(JsonNode values, int start, int width, JsonNode names) {
        if (width == 1) {
            JsonNode value = values.get(start);
            return value.isIntegralNumber() ? value.asText() : value.doubleValue() >= 0.5 ? "1" : "0";
        }
        int best = start;
        for (int position = start + 1; position < start + width; position++) {
            if (values.get(position).doubleValue() > values.get(best).doubleValue()) {
                best = position;
            }
        }
        JsonNode name = names.path(best - start);
        return name.isMissingNode() ? Integer.toString(best - start) : name.textValue();
    }
}
