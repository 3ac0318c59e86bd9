import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Joins what comes for a request in a store, and keeps the counts in another one. The counts are
 * a task's own: all tasks' sums are the result, which spares a second repartition.
 */
final class Join implements Processor<byte[], byte[], Void, Void> {
    static final String REQUESTS = "requests";
    static final String COUNTS = "counts";

    private final Shown shown;
    private KeyValueStore<byte[], byte[]> requests;
    private KeyValueStore<String, Long> counts;
    private Shown.Task task;

    Join(Shown shown) {
        this.shown = shown;
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
        requests = context.getStateStore(REQUESTS);
        counts = context.getStateStore(COUNTS);
        task = shown.task(context.taskId().toString());
        try (KeyValueIterator<String, Long> kept = counts.all()) {
            kept.forEachRemaining(entry -> task.set(entry.key, entry.value));
        }
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        byte[] kept = requests.get(record.key());
        Request before = kept == null ? Request.EMPTY : Request.fromBytes(kept);
        Request after = before.with(Observation.fromBytes(record.value()));
        if (after == before) {
            return;
        }
        requests.put(record.key(), after.toBytes());
        Map<String, Long> moved = new HashMap<>();
        before.addTo(moved, -1);
        after.addTo(moved, 1);
        moved.forEach(this::add);
    }

    private void add(String cell, long change) {
        if (change != 0) {
            long count = task.get(cell) + change;
            counts.put(cell, count);
            task.set(cell, count);
        }
    }
}
