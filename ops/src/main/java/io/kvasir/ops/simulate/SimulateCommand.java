package io.kvasir.ops.simulate;

import io.kvasir.node.placement.Placement;
import io.kvasir.storage.policy.PolicyKind;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.json.JsonMapper;

/** {@code kvasir simulate}: what a trace would hit, by policy, capacity, number of nodes and routing. */
@Command(
        name = "simulate",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description = {
            "Replays a trace of requests through the node's own eviction, placement and directory code, with a simulated"
                    + " clock and network, and prints what hits.",
            "Options that take a list are combined: each combination is one line."
        },
        footer = {
            "",
            "A trace is JSON lines as the Mooncake project publishes them: timestamp (ms), input_length (tokens) and"
                    + " hash_ids, one for each chunk of the prompt. docs/simulate.md says how to make one of your own.",
            "Exit codes: 0 done, 1 a trace cannot be read, 2 wrong arguments."
        })
public final class SimulateCommand implements Callable<Integer> {
    private static final long TOLD_NS = 5_000_000_000L;
    private static final int MOST_NODES = 1_000;

    @Parameters(
            arity = "0..*",
            paramLabel = "TRACE",
            description = "Files to replay. Default: the start of a trace of conversations that comes with Kvasir.")
    private List<Path> traces = new ArrayList<>();

    @Option(
            names = "--nodes",
            split = ",",
            paramLabel = "N",
            defaultValue = "1",
            description = "Nodes, 1 to 1000 (default: ${DEFAULT-VALUE}).")
    private List<Integer> nodes;

    @Option(
            names = "--capacity",
            split = ",",
            paramLabel = "CHUNKS",
            defaultValue = "1000,5000,30000",
            description = "Chunks that each node has room for; 0: without limit (default: ${DEFAULT-VALUE}).")
    private List<Integer> capacities;

    @Option(
            names = "--policy",
            split = ",",
            paramLabel = "NAME",
            converter = Policies.class,
            description = "Eviction policy: cost_aware, lru, s3_fifo (default: all of them).")
    private List<PolicyKind> policies = List.of(PolicyKind.values());

    @Option(
            names = "--sharing",
            split = ",",
            paramLabel = "HOW",
            defaultValue = "pooled",
            description = "pooled: nodes fetch from each other; local: each is alone (default: ${DEFAULT-VALUE}).")
    private List<Scenario.Sharing> sharings;

    @Option(
            names = "--routing",
            split = ",",
            paramLabel = "HOW",
            defaultValue = "random",
            description = "How requests are spread: random, or prefix: the least of chunks to compute + 0.1 x load"
                    + " (default: ${DEFAULT-VALUE}).")
    private List<Scenario.Routing> routings;

    @Option(
            names = "--copies",
            paramLabel = "N",
            defaultValue = "1",
            description = "Replays so many independent copies of the trace at once; 0: one for each ten nodes, so that"
                    + " load grows with the cluster (default: ${DEFAULT-VALUE}).")
    private int copies;

    @Option(names = "--requests", paramLabel = "N", description = "Only the first N requests of a trace.")
    private int limit = Integer.MAX_VALUE;

    @Option(
            names = "--spread-uses",
            paramLabel = "N",
            description = "Uses after which a pulled copy no longer gives way first (default: that of the node).")
    private int spreadUses = Placement.STANDARD.spreadUses();

    @Option(
            names = "--link-gbps",
            paramLabel = "X",
            defaultValue = "25",
            description = "Each node's link, for the time of pulls (default: ${DEFAULT-VALUE}).")
    private double linkGbps;

    @Option(
            names = "--chunk-mib",
            paramLabel = "X",
            defaultValue = "64",
            description = "Bytes of a chunk, for the time of pulls: 512 tokens of an 8B model (default:"
                    + " ${DEFAULT-VALUE}).")
    private double chunkMib;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "1", description = "Of everything random (default: 1).")
    private long seed;

    @Option(
            names = "--json",
            paramLabel = "FILE",
            description = "Writes a JSON array of the outcomes; - for the output.")
    private String json;

    @Option(
            names = "--plot",
            paramLabel = "FILE",
            description = "Draws hit rate over capacity (svg or png); needs a way to PyPI the first time.")
    private Path plot;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        check();
        final List<Path> files = traces.isEmpty() ? List.of(shipped()) : traces;
        final List<Outcome> outcomes = new ArrayList<>();
        final PrintWriter out = spec.commandLine().getOut();
        final boolean table = !"-".equals(json);
        if (table) {
            out.println(Table.HEAD);
        }
        for (final Path file : files) {
            final Trace trace;
            try {
                trace = Trace.read(file, limit);
            } catch (final IOException | IllegalArgumentException unreadable) {
                spec.commandLine().getErr().println("kvasir simulate: " + Table.reason(file, unreadable));
                return 1;
            }
            for (final Scenario scenario : scenarios()) {
                final int count = copies == 0 ? Math.max(1, scenario.nodes() / 10) : copies;
                final Outcome outcome = run(scenario, trace.copies(count));
                outcomes.add(outcome);
                if (table) {
                    out.println(Table.row(outcome));
                    out.flush();
                }
            }
        }
        if (json != null) {
            final String document =
                    JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(outcomes);
            if (table) {
                Files.writeString(Path.of(json), document + "\n");
            } else {
                out.println(document);
            }
        }
        out.flush();
        return 0;
    }

    private void check() {
        for (final int count : nodes) {
            require(count >= 1 && count <= MOST_NODES, "--nodes is " + count + "; it must be 1 to " + MOST_NODES);
        }
        for (final int capacity : capacities) {
            require(capacity >= 0, "--capacity is " + capacity + "; it must be at least 0");
        }
        require(copies >= 0, "--copies is " + copies + "; it must be at least 0");
        require(limit >= 1, "--requests is " + limit + "; it must be at least 1");
        require(linkGbps > 0 && chunkMib > 0, "--link-gbps and --chunk-mib must be above 0");
        require(spreadUses >= 1, "--spread-uses is " + spreadUses + "; it must be at least 1");
        require(plot == null, "--plot is drawn by the launcher: call ./kvasir simulate");
    }

    private void require(final boolean holds, final String problem) {
        if (!holds) {
            throw new ParameterException(spec.commandLine(), problem);
        }
    }

    private static Path shipped() {
        return Path.of(System.getenv().getOrDefault("KVASIR_HOME", "."))
                .resolve("ops/python/kvasir_ops/data/conversation_trace_start.jsonl");
    }

    private List<Scenario> scenarios() {
        final List<Scenario> all = new ArrayList<>();
        for (final int count : nodes) {
            for (final Scenario.Sharing sharing : sharings) {
                for (final Scenario.Routing routing : routings) {
                    for (final int capacity : capacities) {
                        for (final PolicyKind policy : policies) {
                            all.add(new Scenario(
                                    count,
                                    capacity,
                                    policy,
                                    routing,
                                    sharing,
                                    new Placement(spreadUses),
                                    linkGbps,
                                    (long) (chunkMib * (1 << 20)),
                                    seed));
                        }
                    }
                }
            }
        }
        return all;
    }

    private Outcome run(final Scenario scenario, final Trace trace) {
        final long start = System.nanoTime();
        final SimulatedCluster cluster = new SimulatedCluster(scenario, trace.chunks());
        long told = start;
        int served = 0;
        for (final Trace.Request request : trace.requests()) {
            cluster.serve(request);
            served++;
            if (System.nanoTime() - told > TOLD_NS) {
                told = System.nanoTime();
                spec.commandLine()
                        .getErr()
                        .printf(
                                "  %s, %d nodes, %s: %d of %d requests%n",
                                trace.name(),
                                scenario.nodes(),
                                scenario.policy().configured(),
                                served,
                                trace.requests().size());
                spec.commandLine().getErr().flush();
            }
        }
        return cluster.outcome(trace, (System.nanoTime() - start) / 1e9);
    }

    static final class Policies implements ITypeConverter<PolicyKind> {
        @Override
        public PolicyKind convert(final String value) {
            return PolicyKind.parse(value);
        }
    }
}
