import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** One request's row in the store: the newest prediction and the newest feedback, if any. */
record Request(long predictedAt, String model, String predicted, long judgedAt, String actual) {
    /** Between the labels of several rows. */
    static final String SEPARATOR = "\n";
    private static final long NEVER = Long.MIN_VALUE;
    private static final long MINUTE = 60_000_000_000L;

    static final Request EMPTY = new Request(NEVER, "", "", NEVER, "");

    /** The row with this in it: the same row when it is a repetition or older. */
    Request with(Observation seen) {
        if (seen.model().isEmpty()) {
            return seen.timeNanos() <= judgedAt ? this
                    : new Request(predictedAt, model, predicted, seen.timeNanos(), seen.labels());
        }
        return seen.timeNanos() <= predictedAt ? this
                : new Request(seen.timeNanos(), seen.model(), seen.labels(), judgedAt, actual);
    }

    /** Where its rows count as predicted, and as judged once both sides are there. */
    void addTo(Map<String, Long> counts, long sign) {
        if (predictedAt == NEVER) {
            return;
        }
        String place = model + "\t" + Math.floorDiv(predictedAt, MINUTE) + "\t";
        String[] answers = predicted.split(SEPARATOR);
        counts.merge(place + "\t", sign * answers.length, Long::sum);
        if (judgedAt == NEVER) {
            return;
        }
        String[] truths = actual.isEmpty() ? answers : actual.split(SEPARATOR);
        for (int row = 0; row < answers.length; row++) {
            counts.merge(place + truths[row] + "\t" + answers[row], sign, Long::sum);
        }
    }

    byte[] toBytes() {
        byte[] first = predicted.getBytes(StandardCharsets.UTF_8);
        byte[] second = actual.getBytes(StandardCharsets.UTF_8);
        byte[] third = model.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(20 + first.length + second.length + third.length)
                .putLong(predictedAt).putLong(judgedAt)
                .putShort((short) first.length).putShort((short) second.length)
                .put(first).put(second).put(third)
                .array();
    }

    static Request fromBytes(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        long predictedAt = buffer.getLong();
        long judgedAt = buffer.getLong();
        int first = 20 + buffer.getShort();
        int second = first + buffer.getShort();
        return new Request(
                predictedAt,
                new String(bytes, second, bytes.length - second, StandardCharsets.UTF_8),
                new String(bytes, 20, first - 20, StandardCharsets.UTF_8),
                judgedAt,
                new String(bytes, first, second - first, StandardCharsets.UTF_8));
    }
}
