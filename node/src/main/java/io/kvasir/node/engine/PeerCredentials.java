package io.kvasir.node.engine;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.reflect.Method;
import java.nio.channels.SocketChannel;

/**
 * Who is at the other end of a connection, as numbers: Java's SO_PEERCRED asks the machine's name service for their names,
 * which may take seconds.
 */
public record PeerCredentials(int uid, int gid) {
    /** Of Linux. */
    private static final int SOL_SOCKET = 1;

    private static final int SO_PEERCRED = 17;
    /** struct ucred: pid, uid, gid. */
    private static final int UCRED_BYTES = 3 * Integer.BYTES;

    private static final MethodHandle GETSOCKOPT = Linker.nativeLinker()
            .downcallHandle(
                    Linker.nativeLinker().defaultLookup().findOrThrow("getsockopt"),
                    FunctionDescriptor.of(
                            ValueLayout.JAVA_INT,
                            ValueLayout.JAVA_INT,
                            ValueLayout.JAVA_INT,
                            ValueLayout.JAVA_INT,
                            ValueLayout.ADDRESS,
                            ValueLayout.ADDRESS));
    /** ops/jvm.args exports its package. */
    private static final Method DESCRIPTOR = descriptor();

    private static Method descriptor() {
        try {
            return Class.forName("sun.nio.ch.SelChImpl").getMethod("getFDVal");
        } catch (final ReflectiveOperationException e) {
            throw new IllegalStateException("this JDK does not tell the descriptor of a channel", e);
        }
    }

    static PeerCredentials of(final SocketChannel channel) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment credentials = arena.allocate(UCRED_BYTES, Integer.BYTES);
            final MemorySegment length = arena.allocateFrom(ValueLayout.JAVA_INT, UCRED_BYTES);
            final int result = (int) GETSOCKOPT.invokeExact(
                    (int) DESCRIPTOR.invoke(channel), SOL_SOCKET, SO_PEERCRED, credentials, length);
            if (result != 0 || length.get(ValueLayout.JAVA_INT, 0) != UCRED_BYTES) {
                throw new IOException("getsockopt of SO_PEERCRED failed");
            }
            return new PeerCredentials(
                    credentials.getAtIndex(ValueLayout.JAVA_INT, 1), credentials.getAtIndex(ValueLayout.JAVA_INT, 2));
        } catch (final IOException | RuntimeException | Error e) {
            throw e;
        } catch (final Throwable e) {
            throw new IOException("the connection's descriptor cannot be had", e);
        }
    }
}
