package io.kvasir.node.config;

import java.util.Collection;
import java.util.Comparator;
import java.util.Locale;

/** Finds the name that somebody most likely meant. */
public final class Nearest {
    private Nearest() {}

    /** The candidate with the fewest edits; of several, the first in alphabetical order. Candidates are not empty. */
    public static String of(final String name, final Collection<String> candidates) {
        final String lower = name.toLowerCase(Locale.ROOT);
        return candidates.stream()
                .min(Comparator.<String>comparingInt(candidate -> edits(lower, candidate))
                        .thenComparing(Comparator.naturalOrder()))
                .orElseThrow();
    }

    /** Insertions, removals, replacements and swaps of neighbours (optimal string alignment distance). */
    static int edits(final String from, final String to) {
        final int[][] cost = new int[from.length() + 1][to.length() + 1];
        for (int i = 0; i <= from.length(); i++) {
            for (int j = 0; j <= to.length(); j++) {
                if (i == 0 || j == 0) {
                    cost[i][j] = i + j;
                    continue;
                }
                final int replaced = cost[i - 1][j - 1] + (from.charAt(i - 1) == to.charAt(j - 1) ? 0 : 1);
                cost[i][j] = Math.min(replaced, Math.min(cost[i - 1][j], cost[i][j - 1]) + 1);
                if (i > 1
                        && j > 1
                        && from.charAt(i - 1) == to.charAt(j - 2)
                        && from.charAt(i - 2) == to.charAt(j - 1)) {
                    cost[i][j] = Math.min(cost[i][j], cost[i - 2][j - 2] + 1);
                }
            }
        }
        return cost[from.length()][to.length()];
    }
}
