import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.core.message.Encoding;
import io.cloudevents.jackson.JsonFormat;
import io.cloudevents.kafka.CloudEventSerializer;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.OffsetDateTime;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Sends events as Knative does, with the Java SDK's serializer for Kafka, over all partitions and
 * without keys. Arguments: bootstrap servers, topic, BINARY or STRUCTURED, and a file with a line
 * for each event: request id, type, content type, protocol and the body in base64, by tabs.
 */
public class SendCloudEvents {
  public static void main(String[] arguments) throws Exception {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", arguments[0]);
    settings.put("acks", "all");
    Encoding encoding = Encoding.valueOf(arguments[2]);
    settings.put(CloudEventSerializer.ENCODING_CONFIG, encoding);
    if (encoding == Encoding.STRUCTURED) {
      settings.put(CloudEventSerializer.EVENT_FORMAT_CONFIG, JsonFormat.CONTENT_TYPE);
    }
    CloudEventSerializer serializer = new CloudEventSerializer();
    serializer.configure(settings, false);
    List<String> lines = Files.readAllLines(Path.of(arguments[3]));
    try (KafkaProducer<String, CloudEvent> producer =
        new KafkaProducer<>(settings, new StringSerializer(), serializer)) {
      int partitions = producer.partitionsFor(arguments[1]).size();
      for (int number = 0; number < lines.size(); number++) {
        String[] parts = lines.get(number).split("\t", -1);
        CloudEventBuilder event =
            CloudEventBuilder.v1()
                .withId("event-" + number)
                .withSource(URI.create("http://:8000/"))
                .withType(parts[1])
                .withTime(OffsetDateTime.parse("2026-11-20T09:00:00.33Z"))
                .withExtension("requestid", parts[0])
                .withExtension("modelid", "classifier")
                .withExtension("inferenceservicename", "iris")
                .withExtension("namespace", "seldon")
                .withExtension("endpoint", "default")
                .withExtension("protocol", parts[3])
                .withExtension("knativearrivaltime", OffsetDateTime.parse("2026-11-20T09:00:01Z"));
        byte[] body = Base64.getDecoder().decode(parts[4]);
        CloudEvent built =
            body.length == 0 ? event.build() : event.withData(parts[2], body).build();
        producer.send(new ProducerRecord<>(arguments[1], number % partitions, null, built));
      }
      producer.flush();
    }
  }
}
