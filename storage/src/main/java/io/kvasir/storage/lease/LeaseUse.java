package io.kvasir.storage.lease;

/**
 * How much of the memory for leases is in use, and who may have how much of it: half of what the others leave is a
 * session's, and three quarters of what other tenants leave a tenant's. So there is always some for one that comes later.
 * Part of {@link LeaseTable}.
 */
final class LeaseUse {
    private final int mostLeases;
    private final int mostNumbers;
    private int leases;
    private int numbers;

    /** @param mostNumbers of {@link LeaseRecords#numbers} */
    LeaseUse(final int mostLeases, final int mostNumbers) {
        this.mostLeases = mostLeases;
        this.mostNumbers = mostNumbers;
    }

    /** Whether the session may have another lease, of so many numbers. */
    boolean hasSpace(final SessionLeases session, final int more) {
        return isShare(session.leases, leases, 1, mostLeases, 1, 2)
                && isShare(session.numbers, numbers, more, mostNumbers, 1, 2)
                && isShare(session.tenant.leases(), leases, 1, mostLeases, 3, 4)
                && isShare(session.tenant.leaseNumbers(), numbers, more, mostNumbers, 3, 4);
    }

    private static boolean isShare(
            final int own, final int all, final int more, final int most, final int numerator, final int denominator) {
        return all + more <= most && ((long) own + more) * denominator <= (long) (most - (all - own)) * numerator;
    }

    void count(final SessionLeases session, final int moreLeases, final int moreNumbers) {
        session.leases += moreLeases;
        session.numbers += moreNumbers;
        session.tenant.leases(moreLeases, moreNumbers);
        leases += moreLeases;
        numbers += moreNumbers;
    }

    int leases() {
        return leases;
    }
}
