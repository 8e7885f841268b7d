package io.kvasir.ops;

import io.kvasir.node.config.NodeConfig;
import io.kvasir.ops.simulate.SimulateCommand;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The Java side of the {@code kvasir} command. The launcher calls it with the subcommand and its arguments. */
@Command(
        name = "kvasir",
        mixinStandardHelpOptions = true,
        version = "kvasir 0.1.0",
        description = "A KV-cache tier for LLM inference.",
        subcommands = {NodeCommand.class, DoctorCommand.class, SimulateCommand.class})
public final class Kvasir {
    private Kvasir() {}

    /** Exit codes: 0 success, 1 failure, 2 wrong arguments or configuration. */
    public static void main(final String[] args) {
        final String missing = RuntimeModules.missing();
        if (!missing.isEmpty()) {
            System.err.println("kvasir: " + missing);
            System.exit(1);
        }
        Logs.configure(new NodeConfig.Log("warn", "text"));
        Runtime.getRuntime().addShutdownHook(new Thread(Logs::flush, "flush-log"));
        System.exit(commandLine().execute(args));
    }

    static CommandLine commandLine() {
        return new CommandLine(new Kvasir()).setCaseInsensitiveEnumValuesAllowed(true);
    }
}
