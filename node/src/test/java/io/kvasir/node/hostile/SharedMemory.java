package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.Region;
import io.kvasir.node.engine.v1.Request;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Random;

/** Does to the tenant's data files what their mode allows: everything but growing beyond what the tmpfs holds. */
final class SharedMemory {
    private static final int SLOTS = 8;
    private static final int O_RDWR = 2;
    private static final int PUNCH_HOLE_KEEP_SIZE = 3;

    private SharedMemory() {}

    /** The node sums the bytes of what is committed without a checksum: by then they are not there. */
    static void truncate(final Target target, final Sizes sizes) throws IOException {
        damage(target, sizes, (path, random) -> {
            try (FileChannel file = FileChannel.open(path, StandardOpenOption.WRITE)) {
                final long size = file.size();
                if (size > 0) {
                    file.truncate(random.nextBoolean() ? 0 : random.nextLong(size));
                }
            }
        });
    }

    static void punch(final Target target, final Sizes sizes) throws IOException {
        damage(target, sizes, (path, random) -> Native.punch(path, random));
    }

    private static void damage(final Target target, final Sizes sizes, final Damage damage) throws IOException {
        final Random random = sizes.random();
        while (!target.isOver()) {
            try (Guest guest = Guest.attach(target, 1)) {
                final ByteString slots = Slots.granted(guest.reserve(
                        Guest.keys(random, SLOTS), Math.clamp(sizes.bytes(), 1, 1 << 20), 0, target.endNs()));
                for (final Region region : guest.regions.values()) {
                    damage.to(Slots.dataFile(guest.hello.getDirectory(), region), random);
                }
                guest.wire.call(
                        Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)), target.endNs());
                guest.wire.drain(target.within(100_000_000));
            }
        }
    }

    @FunctionalInterface
    private interface Damage {
        void to(Path file, Random random) throws IOException;
    }

    /** The JDK has no way to make a hole in a file. */
    private static final class Native {
        private static final Linker LINKER = Linker.nativeLinker();
        private static final MethodHandle OPEN = handle(
                "open",
                FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT),
                Linker.Option.firstVariadicArg(2));
        private static final MethodHandle CLOSE =
                handle("close", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
        private static final MethodHandle FALLOCATE = handle(
                "fallocate",
                FunctionDescriptor.of(
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_INT,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_LONG));

        private Native() {}

        private static MethodHandle handle(
                final String name, final FunctionDescriptor type, final Linker.Option... options) {
            return LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow(name), type, options);
        }

        static void punch(final Path path, final Random random) throws IOException {
            final long size = java.nio.file.Files.size(path);
            if (size == 0) {
                return;
            }
            final long from = random.nextBoolean() ? 0 : random.nextLong(size);
            try (Arena arena = Arena.ofConfined()) {
                final MemorySegment name = arena.allocateFrom(path.toString());
                final int descriptor = (int) OPEN.invokeExact(name, O_RDWR);
                if (descriptor < 0) {
                    throw new IOException("cannot open " + path);
                }
                final int status = (int) FALLOCATE.invokeExact(descriptor, PUNCH_HOLE_KEEP_SIZE, from, size - from);
                final int closed = (int) CLOSE.invokeExact(descriptor);
                if (status != 0 || closed != 0) {
                    throw new IOException("cannot make a hole in " + path);
                }
            } catch (final IOException | RuntimeException | Error e) {
                throw e;
            } catch (final Throwable e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
