package io.kvasir.bench.suite;

import io.kvasir.storage.tier.dram.Payload;
import io.kvasir.transport.Incarnation;
import io.kvasir.transport.LinkContext;
import io.kvasir.transport.LinkCounters;
import io.kvasir.transport.ObjectName;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.Peer;
import io.kvasir.transport.PeerLink;
import io.kvasir.transport.Priority;
import io.kvasir.transport.PullRequest;
import io.kvasir.transport.TransferListener;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.IdleStrategy;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import tools.jackson.databind.json.JsonMapper;

/**
 * The peer link beside raw Aeron with the same settings, in turn, between two processes: this one pulls, and starts the
 * one that holds the objects (perhaps in another network namespace). Prints figures as JSON; {@code kvasir bench cluster}
 * makes records of them.
 */
@Command(name = "link-bench", mixinStandardHelpOptions = true, description = "Peer link against raw Aeron.")
final class LinkBench implements Callable<Integer> {
    private static final String SECRET = "the benchmark's cluster secret";
    private static final long MEMORY = 256L << 20;

    /**
     * Rounds that are not counted, until the compiler has nothing left to do. What it assumed of the link does not hold for raw
     * Aeron and the other way round, so that after each of the first changes it compiles much again, beside two threads
     * that leave it no processor; the link, which has more code, would be measured at two thirds of what it does later.
     */
    private static final int WARM_ROUNDS = 5;

    private static final long WARM_NS = 1_500_000_000L;

    private static final Incarnation HERE = new Incarnation(1, 1);
    private static final Incarnation THERE = new Incarnation(2, 2);

    @Option(names = "--here", defaultValue = "127.0.0.1:47100", description = "address and port of the pulling side")
    String here;

    @Option(names = "--there", defaultValue = "127.0.0.1:47200", description = "address and port of the holder")
    String there;

    @Option(names = "--towards-there", description = "where the holder is reached, if that is a relay")
    String towardsThere;

    @Option(names = "--towards-here", description = "where the pulling side is reached, if that is a relay")
    String towardsHere;

    @Option(names = "--size", defaultValue = "1048576", description = "bytes of an object")
    int size;

    @Option(names = "--mtu", defaultValue = "65504")
    int mtu;

    @Option(names = "--term", defaultValue = "1048576")
    int term;

    @Option(names = "--window", defaultValue = "524288")
    int window;

    @Option(names = "--runs", defaultValue = "5")
    int runs;

    @Option(names = "--ms", defaultValue = "1000", description = "length of each measurement")
    int ms;

    @Option(names = "--first-bytes", defaultValue = "0", description = "single pulls that are timed to the first byte")
    int firstBytes;

    @Option(names = "--directory", required = true, description = "for the media drivers, in shared memory")
    Path directory;

    @Option(names = "--holder", description = "be the holder: reads commands from standard input")
    boolean holder;

    @Option(names = "--holder-prefix", split = " ", description = "what the holder's process is started with")
    List<String> holderPrefix = new ArrayList<>();

    private LinkSettings settings;

    public static void main(final String[] args) {
        System.exit(new CommandLine(new LinkBench()).execute(args));
    }

    @Override
    public Integer call() throws Exception {
        settings = new LinkSettings(mtu, term, window);
        if (holder) {
            hold();
        } else {
            pull();
        }
        return 0;
    }

    private static Peer peer(final String endpoint, final Incarnation incarnation) {
        final int colon = endpoint.lastIndexOf(':');
        return new Peer(endpoint.substring(0, colon), Integer.parseInt(endpoint.substring(colon + 1)), incarnation);
    }

    private LinkContext context(final Peer self) {
        return new LinkContext()
                .self(self)
                .listen(holder ? there : here)
                .aeronDirectory(directory.resolve(holder ? "holder" : "puller"))
                .secret(SECRET)
                .mtu(mtu)
                .termLength(term)
                .window(window)
                .errors(System.err::println);
    }

    private static ObjectName name(final long number) {
        return new ObjectName(1, 2, 3, 4, number, 6, 7, 8, 9, 10);
    }

    // The holder.

    private void hold() throws IOException {
        final PrintStream out = System.out;
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Arena arena = Arena.ofShared()) {
            final SharedBytes bytes = SharedBytes.random(arena, MEMORY, 1);
            final MemorySegment memory = bytes.mapped();
            final LinkSource source = new LinkSource(bytes, size);
            out.println("ready");
            for (String command = in.readLine(); command != null; command = in.readLine()) {
                final BooleanSupplier stopped = nextLine(in);
                switch (command) {
                    case "link", "link-idle" -> {
                        final PeerLink link =
                                PeerLink.open(context(peer(towardsThere == null ? there : towardsThere, THERE))
                                        .source(source)
                                        .sink(new LinkSlots(bytes.payload(), size)));
                        final IdleStrategy idle = new BackoffIdleStrategy(100, 20, 1_000, 100_000);
                        out.println("ready");
                        while (!stopped.getAsBoolean()) {
                            final int work = link.doWork();
                            if (command.equals("link-idle")) {
                                idle.idle(work);
                            }
                        }
                        link.onClose();
                    }
                    case "raw" -> {
                        try (RawAeron raw = new RawAeron(settings, directory.resolve("holder"))) {
                            out.println("ready");
                            raw.send(towardsHere == null ? here : towardsHere, memory, size, stopped);
                        }
                    }
                    default -> throw new IOException("command " + command);
                }
                out.println("stopped");
            }
        }
    }

    /** Whether the next line has come, without reading a thread's mind: a reader looks for it. */
    private static BooleanSupplier nextLine(final BufferedReader in) {
        final boolean[] seen = {false};
        final long[] lookAt = {0};
        return () -> {
            final long now = System.nanoTime();
            if (!seen[0] && now > lookAt[0]) {
                lookAt[0] = now + 10_000_000;
                try {
                    seen[0] = in.ready() && in.readLine() != null;
                } catch (final IOException e) {
                    seen[0] = true;
                }
            }
            return seen[0];
        };
    }

    // The pulling side.

    private void pull() throws Exception {
        final Map<String, Object> figures = new LinkedHashMap<>();
        final List<Double> link = new ArrayList<>();
        final List<Double> raw = new ArrayList<>();
        final Process process = start();
        try (Arena arena = Arena.ofShared();
                PrintStream commands = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
                BufferedReader answers =
                        new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            final SharedBytes memory = SharedBytes.random(arena, MEMORY, 2);
            await(answers, "ready");
            for (int run = -WARM_ROUNDS; run < runs; run++) {
                final long warmNs = run < 0 ? WARM_NS : ms * 500_000L;
                final double rawFigure;
                final double linkFigure;
                if (run % 2 == 0) {
                    rawFigure = raw(memory.mapped(), commands, answers, warmNs);
                    linkFigure = link(memory.payload(), commands, answers, warmNs);
                } else {
                    linkFigure = link(memory.payload(), commands, answers, warmNs);
                    rawFigure = raw(memory.mapped(), commands, answers, warmNs);
                }
                System.err.printf(
                        "link %.3f raw %.3f GB/s, ratio %.3f%n", linkFigure, rawFigure, linkFigure / rawFigure);
                if (run >= 0) {
                    link.add(linkFigure);
                    raw.add(rawFigure);
                }
            }
            figures.put("link", link);
            figures.put("raw", raw);
            if (firstBytes > 0) {
                figures.put("first_byte_us", firstBytes(memory.payload(), commands, answers));
            }
        } finally {
            if (!process.waitFor(5, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        }
        System.out.println(JsonMapper.builder().build().writeValueAsString(figures));
    }

    private Process start() throws IOException {
        final List<String> command = new ArrayList<>(holderPrefix);
        command.add(ProcessHandle.current().info().command().orElseThrow());
        for (final String flag : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
            if (!flag.startsWith("-Djava.class.path")) {
                command.add(flag);
            }
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), LinkBench.class.getName(), "--holder"));
        command.addAll(List.of("--here", here, "--there", there, "--size", Integer.toString(size)));
        command.addAll(List.of("--mtu", Integer.toString(mtu), "--term", Integer.toString(term)));
        command.addAll(List.of("--window", Integer.toString(window), "--directory", directory.toString()));
        if (towardsHere != null) {
            command.addAll(List.of("--towards-here", towardsHere));
        }
        if (towardsThere != null) {
            command.addAll(List.of("--towards-there", towardsThere));
        }
        return new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
    }

    private static void await(final BufferedReader answers, final String expected) throws IOException {
        final String line = answers.readLine();
        if (!expected.equals(line)) {
            throw new IOException("the holder answered " + line + ", not " + expected);
        }
    }

    private double raw(
            final MemorySegment memory, final PrintStream commands, final BufferedReader answers, final long warmNs)
            throws IOException {
        try (RawAeron raw = new RawAeron(settings, directory.resolve("puller"))) {
            commands.println("raw");
            await(answers, "ready");
            final double figure = raw.receive(here, memory, warmNs, ms * 1_000_000L);
            commands.println("stop");
            await(answers, "stopped");
            return figure;
        }
    }

    private Peer holderPeer() {
        return peer(towardsThere == null ? there : towardsThere, THERE);
    }

    private double link(
            final Payload memory, final PrintStream commands, final BufferedReader answers, final long warmNs)
            throws IOException {
        final LinkSlots slots = new LinkSlots(memory, size);
        final PeerLink link = open(slots, new LinkCounters());
        try {
            commands.println("link");
            await(answers, "ready");
            final Pulls pulls = new Pulls(link);
            final long begin = System.nanoTime();
            long start = 0;
            long before = 0;
            while (true) {
                // Two transfers under way: one ends while the next is sent.
                pulls.keep(2, Math.max(1, (32 << 20) / size));
                link.doWork();
                final long now = System.nanoTime();
                if (start == 0 && now - begin > warmNs && slots.completedBytes > 0) {
                    start = now;
                    before = slots.completedBytes;
                } else if (start != 0 && now - start > ms * 1_000_000L) {
                    final double figure = (double) (slots.completedBytes - before) / (now - start);
                    commands.println("stop");
                    await(answers, "stopped");
                    return figure;
                }
            }
        } finally {
            link.onClose();
        }
    }

    private PeerLink open(final LinkSlots slots, final LinkCounters counters) {
        return PeerLink.open(context(peer(towardsHere == null ? here : towardsHere, HERE))
                .counters(counters)
                .source(new LinkSource(new SharedBytes(MemorySegment.NULL, null), size))
                .sink(slots));
    }

    /** Microseconds from a pull of one object to the first of its bytes in the slot, over a link that is open. */
    private double[] firstBytes(final Payload memory, final PrintStream commands, final BufferedReader answers)
            throws IOException {
        final LinkSlots slots = new LinkSlots(memory, size);
        final LinkCounters counters = new LinkCounters();
        final PeerLink link = open(slots, counters);
        try {
            commands.println("link-idle");
            await(answers, "ready");
            final Pulls pulls = new Pulls(link);
            final double[] took = new double[firstBytes];
            for (int i = -firstBytes / 4; i < firstBytes; i++) {
                final long before = counters.get(LinkCounters.Counter.BYTES_RECEIVED);
                final long start = System.nanoTime();
                pulls.keep(1, 1);
                while (counters.get(LinkCounters.Counter.BYTES_RECEIVED) == before) {
                    link.doWork();
                }
                if (i >= 0) {
                    took[i] = (System.nanoTime() - start) / 1e3;
                }
                while (pulls.open > 0) {
                    link.doWork();
                }
                // The holder goes idle, as it is before most pulls.
                final long pause = System.nanoTime() + 1_000_000;
                while (System.nanoTime() < pause) {
                    link.doWork();
                }
            }
            commands.println("stop");
            await(answers, "stopped");
            Arrays.sort(took);
            return took;
        } finally {
            link.onClose();
        }
    }

    private final class Pulls implements TransferListener {
        private final PeerLink link;
        private int open;
        private long next;

        Pulls(final PeerLink link) {
            this.link = link;
        }

        void keep(final int transfers, final int objects) {
            while (open < transfers) {
                final List<ObjectName> names = new ArrayList<>();
                for (int i = 0; i < objects; i++) {
                    names.add(name(next++));
                }
                open++;
                final long deadline = System.nanoTime() + 30_000_000_000L;
                link.pull(new PullRequest(List.of(holderPeer()), names, deadline, Priority.LOAD, null, this));
            }
        }

        @Override
        public void onObject(final int index, final Outcome outcome) {
            if (outcome != Outcome.STORED && outcome != Outcome.CANCELLED) {
                throw new IllegalStateException("an object ended " + outcome);
            }
        }

        @Override
        public void onEnd() {
            open--;
        }
    }
}
