import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.LongAdder;

/** Events and counts over HTTP, as the benchmark asks for them. */
final class Shown {
    final LongAdder events = new LongAdder();
    private final Map<String, Task> tasks = new ConcurrentHashMap<>();
    private final ObjectMapper json = new ObjectMapper();

    /** The counts that one task has in its store, to be read by another thread. */
    static final class Task {
        private final Map<String, Long> counts = new ConcurrentHashMap<>();

        long get(String cell) {
            return counts.getOrDefault(cell, 0L);
        }

        void set(String cell, long count) {
            counts.put(cell, count);
        }
    }

    /** Fresh counts for a task that starts, in the place of any before. */
    Task task(String id) {
        Task fresh = new Task();
        tasks.put(id, fresh);
        return fresh;
    }

    void serve(int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/metrics", exchange ->
                answer(exchange, "processor_events_total " + events.sum() + "\n"));
        server.createContext("/api/models", exchange ->
                answer(exchange, json.writeValueAsString(Map.of("models", models()))));
        server.start();
    }

    private static void answer(HttpExchange exchange, String body) throws IOException {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    private List<Map<String, Object>> models() {
        Map<String, Map<List<String>, Long>> cells = new TreeMap<>();
        for (Task task : tasks.values()) {
            task.counts.forEach((cell, count) -> {
                String[] parts = cell.split("\t", -1);
                cells.computeIfAbsent(parts[0], name -> new LinkedHashMap<>())
                        .merge(List.of(parts[2], parts[3]), count, Long::sum);
            });
        }
        List<Map<String, Object>> models = new ArrayList<>();
        cells.forEach((name, counts) -> models.add(model(name, counts)));
        return models;
    }

    private static Map<String, Object> model(String name, Map<List<String>, Long> counts) {
        long judged = 0;
        long correct = 0;
        long predictions = 0;
        List<Map<String, Object>> confusion = new ArrayList<>();
        for (Map.Entry<List<String>, Long> entry : counts.entrySet()) {
            String actual = entry.getKey().get(0);
            String predicted = entry.getKey().get(1);
            long count = entry.getValue();
            if (actual.isEmpty()) {
                predictions = count;
            } else if (count != 0) {
                judged += count;
                correct += actual.equals(predicted) ? count : 0;
                confusion.add(Map.of("actual", actual, "predicted", predicted, "count", count));
            }
        }
        return Map.of("namespace", "seldon", "deployment", name, "predictions", predictions,
                "judged", judged, "correct", correct, "confusion", confusion);
    }
}
