package io.kvasir.storage.tier.dram;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps header tables in memory where this process may: each load and store reads them, and when they are swapped out the
 * owner waits for the disk. What is unmapped is not locked any more.
 */
final class MemoryLock {
    private static final Logger LOG = LoggerFactory.getLogger(MemoryLock.class);
    private static final int RLIMIT_MEMLOCK = 8;
    private static final MethodHandle MLOCK =
            handle("mlock", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG));
    private static final MethodHandle GETRLIMIT =
            handle("getrlimit", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.ADDRESS));

    private boolean told;
    private boolean refused;

    private static MethodHandle handle(final String name, final FunctionDescriptor descriptor) {
        return Linker.nativeLinker()
                .downcallHandle(Linker.nativeLinker().defaultLookup().findOrThrow(name), descriptor);
    }

    /** False when it cannot be locked; after the first time nothing is tried any more. */
    synchronized boolean lock(final MemorySegment segment) {
        if (!refused) {
            try {
                refused = (int) MLOCK.invokeExact(segment, segment.byteSize()) != 0;
            } catch (final Throwable unexpected) {
                throw new AssertionError("a downcall threw", unexpected);
            }
            if (refused) {
                LOG.info(
                        "Header tables are not locked in memory: RLIMIT_MEMLOCK is {} bytes; where the machine swaps, raise it",
                        limit());
            } else if (!told) {
                LOG.info("Header tables are locked in memory; RLIMIT_MEMLOCK is {} bytes", limit());
            }
            told = true;
        }
        return !refused;
    }

    private static String limit() {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment limit = arena.allocate(ValueLayout.JAVA_LONG, 2);
            final int result = (int) GETRLIMIT.invokeExact(RLIMIT_MEMLOCK, limit);
            final long bytes = limit.get(ValueLayout.JAVA_LONG, 0);
            return result != 0 ? "unknown" : bytes < 0 ? "unlimited" : Long.toString(bytes);
        } catch (final Throwable unexpected) {
            throw new AssertionError("a downcall threw", unexpected);
        }
    }
}
