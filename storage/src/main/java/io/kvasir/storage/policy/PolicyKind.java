package io.kvasir.storage.policy;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/** The eviction policies that can be chosen, by the names that the configuration and {@code kvasir simulate} use. */
public enum PolicyKind {
    COST_AWARE,
    LRU,
    S3_FIFO;

    /** Of the DRAM tier; docs/decisions has the figures. */
    public static final PolicyKind STANDARD = COST_AWARE;

    /** As in the configuration: {@code cost_aware}. */
    public String configured() {
        return name().toLowerCase(Locale.ROOT);
    }

    public static PolicyKind parse(final String name) {
        return Arrays.stream(values())
                .filter(kind -> kind.configured().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no eviction policy " + name + "; there are "
                        + Arrays.stream(values()).map(PolicyKind::configured).collect(Collectors.joining(", "))));
    }

    /** A policy without entries. */
    public EvictionPolicy create() {
        return switch (this) {
            case COST_AWARE -> new CostAwarePolicy();
            case LRU -> new LruPolicy();
            case S3_FIFO -> new S3FifoPolicy();
        };
    }
}
