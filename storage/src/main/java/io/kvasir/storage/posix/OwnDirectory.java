package io.kvasir.storage.posix;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;

/**
 * Directories in places where anybody may make one, such as /dev/shm and /tmp: what is there already must be this user's
 * own, else who made it can take away or replace what a node puts there.
 */
public final class OwnDirectory {
    private static final int ROOT = 0;
    private static final int DIRECTORY = 0x4000;
    private static final int SYMBOLIC_LINK = 0xa000;
    private static final int FILE_TYPE = 0xf000;
    private static final int STICKY = 01000;
    private static final int GROUP_WRITES = 020;
    private static final int OTHERS_WRITE = 02;

    private OwnDirectory() {}

    /**
     * Makes the directory and those above it, or checks the one that is there: of this user, and written by nobody else.
     *
     * @param key of the configuration that names it
     */
    public static void make(final Path directory, final String key) throws IOException {
        if (!Files.exists(directory, LinkOption.NOFOLLOW_LINKS)) {
            create(directory);
        }
        final Map<String, Object> found = look(directory);
        final int uid = (Integer) found.get("uid");
        final int mode = (Integer) found.get("mode");
        if (!isDirectory(mode) || uid != Posix.user() || writtenByOthers(found)) {
            throw refused(directory, key, "owned by this node's user (uid " + Posix.user() + ")", uid, mode);
        }
    }

    /** Checks one that is there and may be another's: root's or this user's, in which others replace nothing. */
    public static void checkShared(final Path directory, final String key) throws IOException {
        final Map<String, Object> found = look(directory.toRealPath());
        final int uid = (Integer) found.get("uid");
        final int mode = (Integer) found.get("mode");
        if (!isDirectory(mode)
                || (uid != ROOT && uid != Posix.user())
                || ((mode & STICKY) == 0 && writtenByOthers(found))) {
            throw refused(directory, key, "owned by root or this node's user (uid " + Posix.user() + ")", uid, mode);
        }
        // Who owns a link can point it elsewhere.
        final Map<String, Object> named = look(directory);
        final int owner = (Integer) named.get("uid");
        if (owner != ROOT && owner != Posix.user()) {
            throw refused(directory, key, "no link of another user", owner, (Integer) named.get("mode"));
        }
    }

    /** Like {@link Files#createDirectories}, but nobody else may write it whatever the umask says. */
    public static void create(final Path directory) throws IOException {
        Files.createDirectories(directory.toAbsolutePath().getParent());
        try {
            Files.createDirectory(
                    directory, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
        } catch (final FileAlreadyExistsException madeJustNow) {
            // It is checked like any other that was there before.
            return;
        }
    }

    private static Map<String, Object> look(final Path directory) throws IOException {
        return Files.readAttributes(directory, "unix:uid,gid,mode", LinkOption.NOFOLLOW_LINKS);
    }

    private static boolean isDirectory(final int mode) {
        return (mode & FILE_TYPE) == DIRECTORY;
    }

    private static boolean writtenByOthers(final Map<String, Object> found) {
        final int mode = (Integer) found.get("mode");
        // A user's own group is what the usual umask 002 gives what the user makes.
        final boolean group = (mode & GROUP_WRITES) != 0 && !found.get("gid").equals(Posix.group());
        return group || (mode & OTHERS_WRITE) != 0;
    }

    private static IOException refused(
            final Path directory, final String key, final String wanted, final int uid, final int mode) {
        final String kind = isDirectory(mode)
                ? "a directory"
                : (mode & FILE_TYPE) == SYMBOLIC_LINK ? "a symbolic link" : "no directory";
        return new IOException(directory + " is " + kind + " of uid " + uid + " with mode "
                + Integer.toOctalString(mode & 07777) + "; it must be a directory " + wanted
                + " that no other user may write; change its owner or mode, or set " + key + " to another place");
    }
}
