import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import org.apache.kafka.common.header.Headers;

/**
 * What one event says, small enough for the repartition topic: a prediction has a model, a
 * feedback none. The label is empty where a feedback says that the prediction was right.
 */
record Observation(long timeNanos, String label, String model) {
    private static final ObjectMapper JSON = new ObjectMapper();

    static Observation of(Headers headers, byte[] body) {
        Instant time = Instant.parse(text(headers, "ce_time"));
        long nanos = time.getEpochSecond() * 1_000_000_000L + time.getNano();
        JsonNode event;
        try {
            event = JSON.readTree(body);
        } catch (IOException error) {
            throw new IllegalArgumentException(error);
        }
        if (text(headers, "ce_type").endsWith(".response")) {
            String model = text(headers, "ce_inferenceservicename");
            return new Observation(nanos, largest(event.path("data")), model);
        }
        JsonNode data = event.path("truth").path("data");
        return new Observation(nanos, data.isMissingNode() ? "" : largest(data), "");
    }

    byte[] toBytes() {
        byte[] labelBytes = label.getBytes(StandardCharsets.UTF_8);
        byte[] modelBytes = model.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(9 + labelBytes.length + modelBytes.length)
                .putLong(timeNanos).put((byte) labelBytes.length).put(labelBytes).put(modelBytes)
                .array();
    }

    static Observation fromBytes(byte[] bytes) {
        int end = 9 + bytes[8];
        return new Observation(
                ByteBuffer.wrap(bytes).getLong(),
                new String(bytes, 9, end - 9, StandardCharsets.UTF_8),
                new String(bytes, end, bytes.length - end, StandardCharsets.UTF_8));
    }

    private static String text(Headers headers, String name) {
        return new String(headers.lastHeader(name).value(), StandardCharsets.UTF_8);
    }

    private static String largest(JsonNode data) {
        JsonNode scores = data.path("ndarray").path(0);
        int best = 0;
        for (int position = 1; position < scores.size(); position++) {
            if (scores.get(position).doubleValue() > scores.get(best).doubleValue()) {
                best = position;
            }
        }
        return data.path("names").path(best).textValue();
    }
}
