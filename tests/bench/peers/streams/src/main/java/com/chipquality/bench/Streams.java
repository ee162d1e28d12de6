package com.chipquality.bench;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.avro.Schema;
import org.apache.avro.SchemaBuilder;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams, exactly once, with the univariate set: Avro in, a verdict for every row and an alert for every change of the
 * rules that fire out; state in a store with a changelog.
 *
 * <p>Arguments: bootstrap, registry, topic, topic of verdicts, topic of alerts, application id, state directory, threads, store
 * ("memory" or "rocksdb"), commit interval in milliseconds.
 */
public final class Streams {
  private static final String STORE = "series";

  private Streams() {}

  public static void main(String[] args) throws InterruptedException {
    String registry = args[1];
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[5]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, args[6]);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[7]);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[9]);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 * 1024 * 1024);
    settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    settings.put(StreamsConfig.consumerPrefix("max.poll.records"), "10000");
    settings.put(StreamsConfig.producerPrefix("batch.size"), 128 * 1024);

    var supplier =
        args[8].equals("memory") ? Stores.inMemoryKeyValueStore(STORE) : Stores.persistentKeyValueStore(STORE);
    Topology topology = new Topology();
    topology
        .addSource("measurements", Serdes.String().deserializer(), Serdes.ByteArray().deserializer(), args[2])
        .addProcessor("charts", () -> new Judge(registry), "measurements")
        .addStateStore(
            Stores.keyValueStoreBuilder(supplier, Serdes.String(), Series.serde()).withCachingEnabled(), "charts")
        .addSink("verdicts", args[3], Serdes.String().serializer(), Serdes.ByteArray().serializer(), "charts")
        .addSink("alerts", args[4], Serdes.String().serializer(), Serdes.ByteArray().serializer(), "charts");

    KafkaStreams streams = new KafkaStreams(topology, settings);
    CountDownLatch over = new CountDownLatch(1);
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          over.countDown();
          return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
              .SHUTDOWN_CLIENT;
        });
    streams.setStateListener(
        (now, before) -> {
          if (now == KafkaStreams.State.RUNNING) {
            System.out.println("running");
          }
        });
    Runtime.getRuntime().addShutdownHook(new Thread(over::countDown));
    streams.start();
    over.await();
    streams.close(java.time.Duration.ofSeconds(5));
  }

  /** Decodes a measurement, advances its series, forwards what the charts say. */
  private static final class Judge implements Processor<String, byte[], String, byte[]> {
    private final Measurements measurements;
    private final double[] said = new double[Series.NUMBERS];
    private ProcessorContext<String, byte[]> context;
    private KeyValueStore<String, Series> store;

    Judge(String registry) {
      measurements = new Measurements(registry);
    }

    @Override
    public void init(ProcessorContext<String, byte[]> given) {
      context = given;
      store = given.getStateStore(STORE);
    }

    @Override
    public void process(Record<String, byte[]> record) {
      GenericRecord measured = measurements.read(record.value());
      Object value = measured.get("value");
      if (value == null) {
        return;
      }
      Series series = store.get(record.key());
      if (series == null) {
        series = new Series();
      }
      int fired = series.take((double) value, limit(measured, "lsl"), limit(measured, "usl"), said);
      int before = series.signals;
      series.signals = Math.max(fired, 0);
      store.put(record.key(), series);
      if (fired < 0) {
        return;
      }
      ByteBuffer verdict = ByteBuffer.allocate(Long.BYTES + Integer.BYTES + Series.NUMBERS * Double.BYTES);
      verdict.putLong((long) measured.get("timestamp")).putInt(fired);
      for (double number : said) {
        verdict.putDouble(number);
      }
      context.forward(record.withValue(verdict.array()), "verdicts");
      if ((fired & ~before) != 0) {
        ByteBuffer alert = ByteBuffer.allocate(2 * Long.BYTES + 2 * Integer.BYTES + 2 * Double.BYTES);
        alert.putLong((long) measured.get("timestamp")).putLong(record.timestamp()).putInt(fired).putInt(before);
        alert.putDouble(said[0]).putDouble(said[1]);
        context.forward(record.withValue(alert.array()), "alerts");
      }
    }

    private static double limit(GenericRecord measured, String name) {
      Object given = measured.get(name);
      return given == null ? Double.NaN : (double) given;
    }
  }

  /** Reads values with the registry's schemas, the fields that the charts need only. */
  private static final class Measurements {
    private static final Schema NUMBER = SchemaBuilder.nullable().doubleType();
    private static final Schema WANTED =
        SchemaBuilder.record("Measurement")
            .namespace("com.chipquality.events.measurement")
            .fields()
            .requiredLong("timestamp")
            .name("value")
            .type(NUMBER)
            .noDefault()
            .name("lsl")
            .type(NUMBER)
            .noDefault()
            .name("usl")
            .type(NUMBER)
            .noDefault()
            .endRecord();

    private final String registry;
    private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new HashMap<>();
    private BinaryDecoder decoder;
    private GenericRecord reused;

    Measurements(String registry) {
      this.registry = registry;
    }

    GenericRecord read(byte[] value) {
      int id = ByteBuffer.wrap(value, 1, Integer.BYTES).getInt();
      decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, decoder);
      try {
        reused = readers.computeIfAbsent(id, this::reader).read(reused, decoder);
        return reused;
      } catch (IOException error) {
        throw new IllegalStateException(error);
      }
    }

    private GenericDatumReader<GenericRecord> reader(int id) {
      try {
        HttpRequest request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
        String body = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        String schema = new com.fasterxml.jackson.databind.ObjectMapper().readTree(body).get("schema").asText();
        return new GenericDatumReader<>(new Schema.Parser().parse(schema), WANTED);
      } catch (IOException error) {
        throw new IllegalStateException(error);
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException(error);
      }
    }
  }
}
