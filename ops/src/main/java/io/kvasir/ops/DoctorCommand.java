package io.kvasir.ops;

import io.kvasir.node.config.ConfigException;
import io.kvasir.node.config.NodeConfig;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tools.jackson.databind.json.JsonMapper;

/** {@code kvasir doctor}: looks at this machine with the configuration's eyes and says what to change. */
@Command(
        name = "doctor",
        mixinStandardHelpOptions = true,
        description = "Checks this machine and says what to change.",
        footer = {"", "Exit codes: 0 nothing failed, 1 something failed, 2 wrong configuration."})
final class DoctorCommand implements Callable<Integer> {
    @Mixin
    private ConfigOptions options;

    @Option(names = "--json", description = "Prints a JSON array of {check, status, value, advice}.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() {
        final NodeConfig config;
        try {
            config = options.load().config();
        } catch (final ConfigException e) {
            spec.commandLine().getErr().println("kvasir doctor: the configuration cannot be used:");
            e.problems().forEach(problem -> spec.commandLine().getErr().println("  " + problem));
            return 2;
        }
        final List<Finding> findings = Checkup.of(config);
        final PrintWriter out = spec.commandLine().getOut();
        if (json) {
            out.println(JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(findings));
        } else {
            for (final Finding finding : findings) {
                out.printf("%-4s  %-18s  %s%n", finding.status(), finding.check(), finding.value());
                if (!finding.advice().isEmpty()) {
                    out.printf("%26s-> %s%n", "", finding.advice());
                }
            }
        }
        out.flush();
        return findings.stream().anyMatch(finding -> finding.status() == Finding.Status.fail) ? 1 : 0;
    }
}
