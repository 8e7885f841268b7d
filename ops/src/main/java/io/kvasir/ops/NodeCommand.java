package io.kvasir.ops;

import io.kvasir.node.CompilerThreads;
import io.kvasir.node.Node;
import io.kvasir.node.NodeException;
import io.kvasir.node.TemporaryDirectory;
import io.kvasir.node.config.ConfigException;
import io.kvasir.node.config.ConfigLoader;
import io.kvasir.storage.object.StorageException;
import io.prometheus.client.CollectorRegistry;
import io.prometheus.client.hotspot.DefaultExports;
import java.util.concurrent.Callable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code kvasir node}: runs a node in the foreground until SIGTERM or SIGINT. */
@Command(
        name = "node",
        mixinStandardHelpOptions = true,
        description = "Runs a node on this machine until it is told to stop (SIGTERM or Ctrl-C).",
        footer = {"", "docs/configuration.md lists every key. Exit codes: 0 stopped, 1 failed, 2 wrong configuration."})
final class NodeCommand implements Callable<Integer> {
    private static final Logger LOG = LoggerFactory.getLogger(NodeCommand.class);
    private static final int FAILED = 1;
    private static final int WRONG_USE = 2;

    @Mixin
    private ConfigOptions options;

    @Option(names = "--print-config", description = "Prints the configuration that would be used, and ends.")
    private boolean printConfig;

    @Spec
    private CommandSpec spec;

    /** True once the command's own exit code counts. */
    private volatile boolean returning;

    @Override
    public Integer call() throws InterruptedException {
        final ConfigLoader.Loaded loaded;
        try {
            loaded = options.load();
        } catch (final ConfigException e) {
            return wrong(e);
        }
        if (printConfig) {
            spec.commandLine().getOut().print(loaded.yaml());
            spec.commandLine().getOut().flush();
            return 0;
        }
        Logs.configure(loaded.config().log());
        final CollectorRegistry registry = new CollectorRegistry(true);
        DefaultExports.register(registry);
        Logs.register(registry);
        CompilerThreads.lowerPriority();
        try (TemporaryDirectory temporary = TemporaryDirectory.open(loaded.config());
                Node node = Node.start(loaded.config(), registry);
                MetricsServer metrics = MetricsServer.start(loaded.config().http(), node)) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(node, temporary), "stop"));
            if (metrics.address() != null) {
                LOG.atInfo().addKeyValue("address", metrics.address()).log("Metrics and health are served");
            }
            node.await();
            returning = true;
            return 0;
        } catch (final ConfigException e) {
            return wrong(e);
        } catch (final NodeException | StorageException e) {
            LOG.debug("The node cannot run", e);
            Logs.flush();
            spec.commandLine().getErr().println("kvasir node: " + e.getMessage());
            returning = true;
            return FAILED;
        }
    }

    /** On a signal. Without halting, the JVM would end with the signal's exit code although all went well. */
    private void stop(final Node node, final TemporaryDirectory temporary) {
        if (returning) {
            return;
        }
        int code = 0;
        try {
            node.stop();
        } catch (final RuntimeException e) {
            LOG.error("The node did not stop in order", e);
            code = FAILED;
        }
        temporary.close();
        Logs.flush();
        Runtime.getRuntime().halt(code);
    }

    private int wrong(final ConfigException e) {
        spec.commandLine().getErr().println("kvasir node: the configuration cannot be used:");
        e.problems().forEach(problem -> spec.commandLine().getErr().println("  " + problem));
        return WRONG_USE;
    }
}
