package io.kvasir.storage.posix;

import java.io.IOException;

/** A system call failed; callers tell a full file system from a broken disk by {@link #error()}. */
public final class PosixException extends IOException {
    private static final long serialVersionUID = 1L;

    /** Errors that callers treat differently; everything else is {@link #OTHER}. */
    public enum Errno {
        EPERM(1),
        EINTR(4),
        EIO(5),
        EAGAIN(11),
        EFAULT(14),
        EINVAL(22),
        ENOSPC(28),
        EROFS(30),
        EOPNOTSUPP(95),
        EDQUOT(122),
        OTHER(-1);

        private final int code;

        Errno(final int code) {
            this.code = code;
        }

        static Errno of(final int code) {
            for (final Errno errno : values()) {
                if (errno.code == code) {
                    return errno;
                }
            }
            return OTHER;
        }
    }

    private final Errno error;

    public PosixException(final String call, final int code) {
        super(call + " failed: " + (Errno.of(code) == Errno.OTHER ? "errno " + code : Errno.of(code)));
        this.error = Errno.of(code);
    }

    /** The same failure under another number. */
    public PosixException(final PosixException cause, final Errno error) {
        super(cause.getMessage(), cause);
        this.error = error;
    }

    public Errno error() {
        return error;
    }

    /** No room is left on the file system, or in the user's quota. */
    public boolean isNoSpace() {
        return error == Errno.ENOSPC || error == Errno.EDQUOT;
    }
}
