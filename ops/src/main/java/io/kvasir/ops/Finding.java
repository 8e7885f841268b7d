package io.kvasir.ops;

/**
 * One thing that the doctor looked at.
 *
 * @param value what was seen
 * @param advice what to do; empty when nothing is to be done
 */
record Finding(String check, Status status, String value, String advice) {
    /** As it is printed. */
    enum Status {
        ok,
        warn,
        fail
    }

    static Finding ok(final String check, final String value) {
        return new Finding(check, Status.ok, value, "");
    }

    static Finding warn(final String check, final String value, final String advice) {
        return new Finding(check, Status.warn, value, advice);
    }

    static Finding fail(final String check, final String value, final String advice) {
        return new Finding(check, Status.fail, value, advice);
    }
}
