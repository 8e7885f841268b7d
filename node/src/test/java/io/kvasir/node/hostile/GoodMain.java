package io.kvasir.node.hostile;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;

/**
 * A good client as a process: {@code SOCKET TOKEN DEADLINE_MS SEED}. Runs until its standard input ends, and writes a line
 * of JSON each half second: when it began and ended (the machine's monotonic clock, seconds), the microseconds of each call,
 * what was counted, and violations. A client that the node has ended is a violation, and is followed by a new one.
 */
public final class GoodMain {
    private static final long STEP_NS = TimeUnit.MILLISECONDS.toNanos(10);
    private static final long LINE_NS = TimeUnit.MILLISECONDS.toNanos(500);
    /** It attaches while node and client have just been started, so this says nothing about the node. */
    private static final int ATTACH_MS = 60_000;

    private static final long AGAIN_NS = TimeUnit.MILLISECONDS.toNanos(200);

    private GoodMain() {}

    /** What has happened since the last line. */
    private static final class Lines implements GoodClient.Observer {
        private final Map<GoodClient.Kind, List<Long>> micros = new EnumMap<>(GoodClient.Kind.class);
        private final Map<String, Integer> counts = new TreeMap<>();
        private final List<String> violations = new ArrayList<>();
        private long beginNs = System.nanoTime();

        @Override
        public void answered(final GoodClient.Kind kind, final long ns) {
            micros.computeIfAbsent(kind, none -> new ArrayList<>()).add(TimeUnit.NANOSECONDS.toMicros(ns));
        }

        @Override
        public void counted(final String what) {
            counts.merge(what, 1, Integer::sum);
        }

        @Override
        public void violated(final String what) {
            violations.add(what);
        }

        void write(final String incarnation) {
            final long nowNs = System.nanoTime();
            System.out.println(String.format(
                    Locale.ROOT,
                    "{\"begin\":%.6f,\"end\":%.6f,\"incarnation\":%s,\"micros\":%s,\"counts\":%s,\"violations\":%s}",
                    beginNs / 1e9,
                    nowNs / 1e9,
                    quoted(incarnation),
                    object(micros),
                    object(counts),
                    violations.stream().map(GoodMain::quoted).toList()));
            micros.clear();
            counts.clear();
            violations.clear();
            beginNs = nowNs;
        }

        boolean isDue() {
            return System.nanoTime() - beginNs > LINE_NS;
        }

        private static String object(final Map<?, ?> map) {
            return map.entrySet().stream()
                    .map(each -> quoted(each.getKey().toString()) + ":" + each.getValue())
                    .collect(Collectors.joining(",", "{", "}"));
        }
    }

    public static void main(final String[] arguments) throws IOException {
        final Path socket = Path.of(arguments[0]);
        final int deadlineMs = Integer.parseInt(arguments[2]);
        final Lines lines = new Lines();
        String incarnation = "";
        long seed = Long.parseLong(arguments[3]);
        HostileMain.endWithInput();
        while (true) {
            try (GoodClient client =
                    new GoodClient(GoodClient.target(socket, arguments[1], ATTACH_MS), deadlineMs, seed++, lines)) {
                long next = System.nanoTime();
                while (true) {
                    client.step();
                    incarnation = client.incarnation();
                    if (lines.isDue()) {
                        lines.write(incarnation);
                    }
                    next = Math.max(next + STEP_NS, System.nanoTime());
                    for (long left = next - System.nanoTime(); left > 0; left = next - System.nanoTime()) {
                        LockSupport.parkNanos(left);
                    }
                }
            } catch (final IOException e) {
                lines.violated("the good client lost its connection: " + e.getMessage());
                lines.write(incarnation);
                LockSupport.parkNanos(AGAIN_NS);
            }
        }
    }

    private static String quoted(final String text) {
        final StringBuilder json = new StringBuilder("\"");
        for (int i = 0; i < text.length(); i++) {
            final char each = text.charAt(i);
            json.append(each < ' ' || each == '"' || each == '\\' ? String.format("\\u%04x", (int) each) : each);
        }
        return json.append('"').toString();
    }
}
