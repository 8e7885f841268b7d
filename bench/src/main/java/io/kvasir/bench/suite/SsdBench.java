package io.kvasir.bench.suite;

import com.sun.management.OperatingSystemMXBean;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.tier.ssd.ReadOutcome;
import io.kvasir.storage.tier.ssd.ReadRequest;
import io.kvasir.storage.tier.ssd.SsdTier;
import io.kvasir.storage.tier.ssd.StoredObject;
import io.kvasir.storage.tier.ssd.WriteOutcome;
import io.kvasir.storage.tier.ssd.WriteRequest;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicReference;
import java.util.zip.CRC32C;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/** Writes and reads through the SSD tier and, in turn, through a raw file; prints the records of the suite "ssd". */
@Command(
        name = "ssd-bench",
        mixinStandardHelpOptions = true,
        description = "Measures the SSD tier against raw O_DIRECT.")
public final class SsdBench implements Callable<Integer> {
    private static final long BATCH_BYTES = 8L << 20;
    private static final int READ_THREADS = 2;
    private static final long BUFFERS_BYTES = 128L << 20;
    private static final double GIB = 1L << 30;

    @Option(names = "--dir", required = true, description = "A directory on the SSD; what is made there is deleted.")
    private Path directory;

    @Option(names = "--json", description = "Also writes the records to this file.")
    private Path json;

    @Option(names = "--runs", description = "Repetitions; medians are reported (default ${DEFAULT-VALUE}).")
    private int runs = 3;

    @Option(names = "--mib", description = "Payload of one repetition, in MiB (default ${DEFAULT-VALUE}).")
    private int mib = 512;

    private final OperatingSystemMXBean process = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    /** Medians' input: one value for each run. */
    private final class Figures {
        final double[] write = new double[runs];
        final double[] rawWrite = new double[runs];
        final double[] read = new double[runs];
        final double[] rawRead = new double[runs];
        final double[] amplification = new double[runs];
        final double[] rawAmplification = new double[runs];
        final double[] cpu = new double[runs];
        final double[] rawCpu = new double[runs];
    }

    public static void main(final String[] args) {
        System.exit(new CommandLine(new SsdBench()).execute(args));
    }

    @Override
    public Integer call() throws Exception {
        Files.createDirectories(directory);
        final List<BenchRecord> records = new ArrayList<>();
        records.addAll(measure("64k", 64 << 10, 0.7));
        records.addAll(measure("1m", 1 << 20, 0.85));
        records.addAll(measure("4m", 4 << 20, 0.85));
        final ObjectMapper mapper =
                JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();
        System.out.println(mapper.writeValueAsString(records));
        if (json != null) {
            mapper.writeValue(json.toFile(), records);
        }
        return 0;
    }

    private List<BenchRecord> measure(final String size, final int length, final double least) throws Exception {
        final Figures figures = new Figures();
        final int count = (int) (((long) mib << 20) / length);
        try (Arena arena = Arena.ofShared()) {
            final List<MemorySegment> buffers = buffers(arena, length);
            // The first run warms the JVM up and is not counted.
            for (int run = -1; run < runs; run++) {
                final int into = Math.max(0, run);
                if (run % 2 == 0) {
                    raw(figures, into, buffers, length, count);
                    tier(figures, into, buffers, length, count);
                } else {
                    tier(figures, into, buffers, length, count);
                    raw(figures, into, buffers, length, count);
                }
            }
        }
        final String reference = "raw O_DIRECT, same sizes and depth";
        final List<BenchRecord> records = new ArrayList<>();
        records.add(BenchRecord.atLeast(
                "ssd.write." + size,
                "SSD write " + size,
                median(figures.write),
                "GB/s",
                reference + ", data sync each 8 MiB",
                median(figures.rawWrite),
                least));
        records.add(BenchRecord.atLeast(
                "ssd.read." + size,
                "SSD cold random read " + size,
                median(figures.read),
                "GB/s",
                reference,
                median(figures.rawRead),
                least));
        if (size.equals("1m")) {
            records.add(BenchRecord.atMost(
                    "ssd.write_amplification",
                    "bytes the device wrote for each byte of payload, 1 MiB",
                    median(figures.amplification),
                    "ratio",
                    "raw O_DIRECT",
                    median(figures.rawAmplification),
                    1.05));
            records.add(BenchRecord.atMost(
                    "ssd.cpu_per_gib",
                    "processor time for each GiB written and read, checksums included, 1 MiB",
                    median(figures.cpu),
                    "s/GiB",
                    "raw O_DIRECT, no checksums",
                    median(figures.rawCpu),
                    0.3));
        }
        return records;
    }

    /** In shared memory, as the payload of a node is; all touched. */
    private static List<MemorySegment> buffers(final Arena arena, final int length) throws IOException {
        final Path file = Files.createTempFile(Path.of("/dev/shm"), "kvasir-bench", ".tmp");
        try {
            final int fd = Posix.open(file, Posix.O_RDWR, 0);
            Posix.allocate(fd, 0, BUFFERS_BYTES);
            Posix.close(fd);
            final MemorySegment all;
            try (var channel = java.nio.channels.FileChannel.open(
                    file, java.nio.file.StandardOpenOption.READ, java.nio.file.StandardOpenOption.WRITE)) {
                all = channel.map(java.nio.channels.FileChannel.MapMode.READ_WRITE, 0, BUFFERS_BYTES, arena);
            }
            final SplittableRandom random = new SplittableRandom(1);
            for (long at = 0; at < BUFFERS_BYTES; at += 8) {
                all.set(ValueLayout.JAVA_LONG, at, random.nextLong());
            }
            final List<MemorySegment> buffers = new ArrayList<>();
            for (long at = 0; at < BUFFERS_BYTES; at += length) {
                buffers.add(all.asSlice(at, length));
            }
            return buffers;
        } finally {
            Files.delete(file);
        }
    }

    private void raw(
            final Figures figures, final int run, final List<MemorySegment> buffers, final int length, final int count)
            throws Exception {
        final double payload = (double) count * length;
        final DeviceStat device = new DeviceStat(directory);
        try (RawDisk disk = new RawDisk(directory.resolve("raw.tmp"), (long) count * length)) {
            final long written = device.writtenBytes();
            final long cpu = process.getProcessCpuTime();
            figures.rawWrite[run] = payload / disk.write(buffers, count, BATCH_BYTES);
            figures.rawAmplification[run] = (device.writtenBytes() - written) / payload;
            figures.rawRead[run] = payload / disk.read(buffers, order(count), READ_THREADS);
            figures.rawCpu[run] = (process.getProcessCpuTime() - cpu) / 1e9 / (2 * payload / GIB);
        }
    }

    private void tier(
            final Figures figures, final int run, final List<MemorySegment> buffers, final int length, final int count)
            throws Exception {
        final Path home = directory.resolve("tier");
        final double payload = (double) count * length;
        final DeviceStat device = new DeviceStat(directory);
        try (SsdTier tier = SsdTier.open(new SsdTier.Context()
                .directory(home)
                .capacityBytes(4L << 30)
                .batchBytes(BATCH_BYTES)
                .readThreads(READ_THREADS)
                .maxQueuedReads(4096)
                .maxQueuedWrites(4096))) {
            if (!tier.awaitWarm(10_000_000_000L)) {
                throw new IOException(tier.describe());
            }
            final long written = device.writtenBytes();
            final long cpu = process.getProcessCpuTime();
            figures.write[run] = payload / write(tier, buffers, length, count);
            figures.amplification[run] = (device.writtenBytes() - written) / payload;
            figures.read[run] = payload / read(tier, buffers, count);
            figures.cpu[run] = (process.getProcessCpuTime() - cpu) / 1e9 / (2 * payload / GIB);
        } finally {
            deleteTree(home);
        }
    }

    private static ObjectId id(final int number) {
        final SplittableRandom random = new SplittableRandom(number);
        return new ObjectId(
                new Hash256(1, 2, 3, 4),
                new Hash256(random.nextLong(), random.nextLong(), random.nextLong(), number),
                new Shard(0, 32, 0, 8, 0, 0, 1, 0, 1));
    }

    private static long write(final SsdTier tier, final List<MemorySegment> buffers, final int length, final int count)
            throws Exception {
        final BlockingQueue<MemorySegment> free = new LinkedBlockingQueue<>(buffers);
        final AtomicReference<String> wrong = new AtomicReference<>();
        final long start = System.nanoTime();
        for (int i = 0; i < count; i++) {
            final MemorySegment payload = free.take();
            final CRC32C crc = new CRC32C();
            crc.update(payload.asByteBuffer());
            tier.write(new WriteRequest(
                    id(i),
                    payload,
                    new StoredObject(length, (int) crc.getValue(), 0, Hash256.ZERO, i, 0, 0),
                    outcome -> {
                        if (outcome.status() != WriteOutcome.Status.DURABLE) {
                            wrong.set(outcome.toString());
                        }
                        free.add(payload);
                    }));
        }
        takeAll(free, buffers.size());
        return ended(start, wrong);
    }

    private static long read(final SsdTier tier, final List<MemorySegment> buffers, final int count) throws Exception {
        final int window = Math.min(buffers.size(), 64);
        final BlockingQueue<MemorySegment> free = new LinkedBlockingQueue<>(buffers.subList(0, window));
        final AtomicReference<String> wrong = new AtomicReference<>();
        final int[] order = order(count);
        final long start = System.nanoTime();
        for (int i = 0; i < count; i++) {
            final MemorySegment destination = free.take();
            tier.read(new ReadRequest(id(order[i]), destination, outcome -> {
                if (!(outcome instanceof ReadOutcome.Loaded)) {
                    wrong.set(outcome.toString());
                }
                free.add(destination);
            }));
        }
        takeAll(free, window);
        return ended(start, wrong);
    }

    private static void takeAll(final BlockingQueue<MemorySegment> free, final int count) throws InterruptedException {
        for (int i = 0; i < count; i++) {
            free.take();
        }
    }

    private static long ended(final long start, final AtomicReference<String> wrong) throws IOException {
        final long took = System.nanoTime() - start;
        if (wrong.get() != null) {
            throw new IOException("the tier answered " + wrong.get());
        }
        return took;
    }

    private static int[] order(final int count) {
        final int[] order = new int[count];
        final SplittableRandom random = new SplittableRandom(3);
        for (int i = 0; i < count; i++) {
            final int j = random.nextInt(i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        return order;
    }

    private static double median(final double[] values) {
        final double[] sorted = values.clone();
        Arrays.sort(sorted);
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }

    private static void deleteTree(final Path root) throws IOException {
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(final Path file, final BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(final Path visited, final IOException failure)
                    throws IOException {
                Files.delete(visited);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}
