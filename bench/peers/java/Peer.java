import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.Stores;

/**
 * The processor's job in Kafka Streams: repartition by request id, join, count. Its arguments:
 * app id, bootstrap servers, topic, partitions, port, state folder, processing guarantee.
 */
public final class Peer {
    public static void main(String[] arguments) throws Exception {
        String topic = arguments[2];
        int partitions = Integer.parseInt(arguments[3]);
        Shown shown = new Shown();
        // First, since nothing else keeps the process alive when the port is taken.
        shown.serve(Integer.parseInt(arguments[4]));
        Properties settings = settings(arguments[0], arguments[1], arguments[5], arguments[6]);
        KafkaStreams streams =
                new KafkaStreams(topology(topic, partitions, shown).build(settings), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        CountDownLatch ended = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.ERROR) {
                ended.countDown();
            }
        });
        streams.start();
        ended.await();
        System.exit(1);
    }

    private static StreamsBuilder topology(String topic, int partitions, Shown shown) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(Join.REQUESTS),
                Serdes.ByteArray(), Serdes.ByteArray()).withCachingEnabled());
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(Join.COUNTS),
                Serdes.String(), Serdes.Long()).withCachingEnabled());
        builder.stream(topic, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .process(() -> new Decode(shown))
                .repartition(Repartitioned.with(Serdes.ByteArray(), Serdes.ByteArray())
                        .withName("by-request").withNumberOfPartitions(partitions))
                .process(() -> new Join(shown), Join.REQUESTS, Join.COUNTS);
        return builder;
    }

    private static Properties settings(
            String app, String bootstrap, String folder, String guarantee) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, app);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, folder);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // Two threads were slower on two cores that the broker shares.
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 * 1024 * 1024);
        settings.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 5_000);
        // The same fetches, polls and batches as for the other systems.
        settings.put(consumer(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(consumer(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        settings.put(consumer(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 4 * 1024 * 1024);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 50);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
        return settings;
    }

    private static String consumer(String name) {
        return StreamsConfig.consumerPrefix(name);
    }

    /** An event to what it says, under its request id and without its headers. */
    private static final class Decode extends ContextualProcessor<byte[], byte[], byte[], byte[]> {
        private final Shown shown;

        Decode(Shown shown) {
            this.shown = shown;
        }

        @Override
        public void process(Record<byte[], byte[]> event) {
            shown.events.increment();
            Observation seen = Observation.of(event.headers(), event.value());
            if (seen == null) {
                return;
            }
            Header id = event.headers().lastHeader("ce_requestid");
            if (id == null) {
                // On KServe the id of the event is that of the request.
                id = event.headers().lastHeader("ce_id");
            }
            context().forward(new Record<>(
                    id.value(), seen.toBytes(), event.timestamp(), new RecordHeaders()));
        }
    }
}
