import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** One request's row in the store: the newest prediction and the newest feedback, if any. */
record Request(long predictedAt, String model, String predicted, long judgedAt, String actual) {
    private static final long NEVER = Long.MIN_VALUE;
    private static final long MINUTE = 60_000_000_000L;

    static final Request EMPTY = new Request(NEVER, "", "", NEVER, "");

    /** The row with this in it: the same row when it is a repetition or older. */
    Request with(Observation seen) {
        if (seen.model().isEmpty()) {
            return seen.timeNanos() <= judgedAt ? this
                    : new Request(predictedAt, model, predicted, seen.timeNanos(), seen.label());
        }
        return seen.timeNanos() <= predictedAt ? this
                : new Request(seen.timeNanos(), seen.model(), seen.label(), judgedAt, actual);
    }

    /** Where it counts as predicted; null without a prediction. */
    String prediction() {
        return predictedAt == NEVER ? null : String.join("\t", model, minute(), "", "");
    }

    /** Where it counts as judged: model, minute, actual, predicted; null without both sides. */
    String cell() {
        if (predictedAt == NEVER || judgedAt == NEVER) {
            return null;
        }
        String truth = actual.isEmpty() ? predicted : actual;
        return String.join("\t", model, minute(), truth, predicted);
    }

    private String minute() {
        return Long.toString(Math.floorDiv(predictedAt, MINUTE));
    }

    byte[] toBytes() {
        byte[] first = predicted.getBytes(StandardCharsets.UTF_8);
        byte[] second = actual.getBytes(StandardCharsets.UTF_8);
        byte[] third = model.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(18 + first.length + second.length + third.length)
                .putLong(predictedAt).putLong(judgedAt)
                .put((byte) first.length).put((byte) second.length)
                .put(first).put(second).put(third)
                .array();
    }

    static Request fromBytes(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        long predictedAt = buffer.getLong();
        long judgedAt = buffer.getLong();
        int first = 18 + bytes[16];
        int second = first + bytes[17];
        return new Request(
                predictedAt,
                new String(bytes, second, bytes.length - second, StandardCharsets.UTF_8),
                new String(bytes, 18, first - 18, StandardCharsets.UTF_8),
                judgedAt,
                new String(bytes, first, second - first, StandardCharsets.UTF_8));
    }
}
