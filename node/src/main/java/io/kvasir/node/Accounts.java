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
 * Names of users and groups to their numbers and back, by the C library, which may ask a name service and wait for it. One
 * thread calls {@link #uid} and {@link #gid}, since what getpwnam and getgrnam return is overwritten by the next call; any
 * thread calls {@link #name}.
 */
final class Accounts {
    /** Of pw_uid in struct passwd, and of gr_gid in struct group: after two pointers. */
    private static final long ID_OFFSET = 16;

    private static final MethodHandle GETPWNAM = handle("getpwnam");
    private static final MethodHandle GETGRNAM = handle("getgrnam");

    private static final MethodHandle GETPWUID_R = Linker.nativeLinker()
            .downcallHandle(
                    Linker.nativeLinker().defaultLookup().findOrThrow("getpwuid_r"),
                    FunctionDescriptor.of(
                            ValueLayout.JAVA_INT,
                            ValueLayout.JAVA_INT,
                            ValueLayout.ADDRESS,
                            ValueLayout.ADDRESS,
                            ValueLayout.JAVA_LONG,
                            ValueLayout.ADDRESS));
    /** More than struct passwd has, whose first member is the name. */
    private static final int ENTRY_BYTES = 128;

    private static final int TEXT_BYTES = 64 << 10;
    private static final int ENOENT = 2;
    private static final int ESRCH = 3;
    private static final int EINTR = 4;

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

    /**
     * The user's name; its number where it has none.
     *
     * @throws IllegalStateException when it cannot be found out
     */
    static String name(final int uid) {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment entry = arena.allocate(ENTRY_BYTES, Long.BYTES);
            final MemorySegment result = arena.allocate(ValueLayout.ADDRESS);
            final MemorySegment text = arena.allocate(TEXT_BYTES);
            int code;
            do {
                code = (int) GETPWUID_R.invokeExact(uid, entry, text, (long) TEXT_BYTES, result);
            } while (code == EINTR);
            // Databases differ in what they answer for a user that they do not have.
            if (code != 0 && code != ENOENT && code != ESRCH) {
                throw new IllegalStateException("getpwuid_r of " + Integer.toUnsignedString(uid) + ": error " + code);
            }
            return result.get(ValueLayout.ADDRESS, 0).address() == 0
                    ? Integer.toUnsignedString(uid)
                    : entry.get(ValueLayout.ADDRESS, 0).reinterpret(TEXT_BYTES).getString(0);
        } catch (final RuntimeException | Error e) {
            throw e;
        } catch (final Throwable e) {
            throw new IllegalStateException("the C library's user database cannot be asked", e);
        }
    }

    private static MethodHandle handle(final String name) {
        final SymbolLookup library = Linker.nativeLinker().defaultLookup();
        return Linker.nativeLinker()
                .downcallHandle(
                        library.findOrThrow(name), FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS));
    }
}
