package io.kvasir.node.config;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.transport.LinkContext;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.lang.management.MemoryType;

/**
 * What a node's process may need at most besides the regions of {@code dram.capacity}: what a memory limit has to hold too.
 *
 * @param heap of the JVM
 * @param jvm classes and compiled code
 * @param other direct buffers, stacks, native libraries and leases
 * @param directory {@code cluster.directory_memory}; 0 for a node alone
 * @param index of objects on SSD; 0 without an SSD tier
 * @param links buffers of links to other nodes, in shared memory; 0 for a node alone
 */
public record MemoryNeed(long heap, long jvm, long other, long index, long directory, long links) {
    private static final long MIB = 1L << 20;
    /** Classes and code where the JVM was given no bound for them; what a node's flags say. */
    private static final long JVM_BYTES = 144 * MIB;

    /** Direct buffers, stacks, native libraries, and the leases of a small arena. */
    private static final long OTHER_BYTES = 64 * MIB + LeaseTable.bytes(StoreLimits.leasedCells(0));

    /** Slot headers, the table's entries and leases, 420 bytes: one part in so many of an arena of objects of 16 KiB. */
    private static final int HEADERS = 39;

    public static MemoryNeed of(final NodeConfig.Cluster cluster, final NodeConfig.Ssd ssd) {
        long bounded = 0;
        for (final MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
            // The class space lies inside the metaspace's bound.
            if (pool.getType() == MemoryType.NON_HEAP && !pool.getName().startsWith("Compressed Class")) {
                bounded += Math.max(0, pool.getUsage().getMax());
            }
        }
        return new MemoryNeed(
                Runtime.getRuntime().maxMemory(),
                bounded == 0 ? JVM_BYTES : Math.min(bounded, JVM_BYTES),
                OTHER_BYTES,
                ssd.objects() == 0
                        ? 0
                        : ObjectTable.bytes(ssd.objects())
                                + io.kvasir.storage.tier.ssd.SsdTier.Context.indexBytes(ssd.objects()),
                cluster.isEnabled() ? cluster.directoryBytes() : 0,
                cluster.isEnabled() ? new LinkContext().maxBufferBytes() : 0);
    }

    public long total() {
        return heap + jvm + other + index + directory + links;
    }

    /** Most bytes of {@code dram.capacity} that fit beside it; below 0 when it does not fit itself. */
    public long leaves(final MemoryLimit limit) {
        final long rest = limit.bytes() - total();
        return (rest - rest / HEADERS) / MIB * MIB;
    }

    /** For messages. */
    public String describe(final MemoryLimit limit) {
        return "the memory limit of this process is " + ByteSize.human(limit.bytes()) + " (" + limit.file()
                + "), and the process itself may need " + ByteSize.human(total()) + " (heap " + ByteSize.human(heap)
                + ", classes and code " + ByteSize.human(jvm) + ", native memory " + ByteSize.human(other)
                + (index == 0 ? "" : ", ssd.objects " + ByteSize.human(index))
                + (links == 0
                        ? ""
                        : ", directory " + ByteSize.human(directory) + ", link buffers " + ByteSize.human(links))
                + ")";
    }
}
