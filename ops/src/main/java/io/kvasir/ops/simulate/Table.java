package io.kvasir.ops.simulate;

import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** Outcomes as lines for people. */
final class Table {
    private static final String FORMAT = "%-24s %5s %-7s %-7s %9s %-10s  %6s  %6s  %7s %7s  %8s  %9s  %9s  %9s";

    static final String HEAD = String.format(
                    FORMAT,
                    "trace",
                    "nodes",
                    "sharing",
                    "routing",
                    "capacity",
                    "policy",
                    "hits",
                    "time",
                    "pulled",
                    "moved",
                    "pull p99",
                    "entries/",
                    "records/",
                    "directory")
            + "\n"
            + String.format(
                    FORMAT, "", "", "", "", "/node", "", "", "saved", "", "", "ms", "lookup", "chunk", "/node/s");

    private Table() {}

    static String row(final Outcome o) {
        return String.format(
                FORMAT,
                o.trace(),
                o.nodes(),
                o.sharing(),
                o.routing(),
                o.capacity() == 0 ? "endless" : Integer.toString(o.capacity()),
                o.policy(),
                String.format("%.4f", o.hitRate()),
                String.format("%.4f", o.timeSaved()),
                String.format("%.4f", (double) o.pulled() / o.chunks()),
                String.format("%.4f", (double) o.moved() / o.chunks()),
                o.pulled() == 0 ? "-" : String.format("%.0f", o.pullMsP99()),
                o.lookups() == 0 ? "-" : String.format("%.2f", o.entriesPerLookup()),
                o.lookups() == 0 ? "-" : String.format("%.3f", o.recordsPerChunk()),
                o.lookups() == 0 ? "-" : String.format("%.1f", o.directoryPerNode()));
    }

    static String reason(final Path file, final Exception failure) {
        if (failure instanceof NoSuchFileException) {
            return file + " is not there";
        }
        return failure instanceof IOException
                ? file + " cannot be read: " + failure.getMessage()
                : failure.getMessage();
    }
}
