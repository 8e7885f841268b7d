package io.kvasir.ops;

import io.kvasir.node.config.ConfigLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Option;

/** The options that say where the configuration comes from; shared by the subcommands that need it. */
final class ConfigOptions {
    private static final Path DEFAULT_FILE = Path.of("kvasir.yaml");

    @Option(
            names = {"-c", "--config"},
            paramLabel = "FILE",
            description = "The configuration file. Default: kvasir.yaml in the current directory when it is there.")
    private Path file;

    @Option(
            names = {"-s", "--set"},
            paramLabel = "KEY=VALUE",
            description =
                    "Sets one key, such as dram.capacity=8GiB; stronger than file and environment. May be repeated.")
    private List<String> sets = List.of();

    /** Throws {@link io.kvasir.node.config.ConfigException} with everything that is wrong. */
    ConfigLoader.Loaded load() {
        final Path chosen = file != null || !Files.exists(DEFAULT_FILE) ? file : DEFAULT_FILE;
        return ConfigLoader.load(chosen, System.getenv(), sets);
    }
}
