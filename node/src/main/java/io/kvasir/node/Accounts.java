package io.kvasir.node;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.OptionalInt;

/**
 * Names of users and groups to their numbers, by the C library (getpwnam, getgrnam). One thread calls it: what these
 * functions return is overwritten by the next call.
 */
final class Accounts {
    /** Of pw_uid in struct passwd, and of gr_gid in struct group: after two pointers. */
    private static final long ID_OFFSET = 16;

    private static final MethodHandle GETPWNAM = handle("getpwnam");
    private static final MethodHandle GETGRNAM = handle("getgrnam");

    private Accounts() {}

    /** A number stands for itself: the kernel's peer without a name has its number for one. */
    static OptionalInt uid(final String user) {
        return id(GETPWNAM, user);
    }

    static OptionalInt gid(final String group) {
        return id(GETGRNAM, group);
    }

    private static OptionalInt id(final MethodHandle function, final String name) {
        if (!name.isEmpty() && name.length() <= 10 && name.chars().allMatch(c -> c >= '0' && c <= '9')) {
            return OptionalInt.of((int) Long.parseLong(name));
        }
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment entry = (MemorySegment) function.invokeExact(arena.allocateFrom(name));
            return entry.address() == 0
                    ? OptionalInt.empty()
                    : OptionalInt.of(
                            entry.reinterpret(ID_OFFSET + Integer.BYTES).get(ValueLayout.JAVA_INT, ID_OFFSET));
        } catch (final Throwable e) {
            throw new IllegalStateException("the C library's user database cannot be asked for " + name, e);
        }
    }

    private static MethodHandle handle(final String name) {
        final SymbolLookup library = Linker.nativeLinker().defaultLookup();
        return Linker.nativeLinker()
                .downcallHandle(
                        library.findOrThrow(name), FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS));
    }
}
