package io.kvasir.storage.tenant;

/** What one tenant has. Counted as it changes, by the store's owner, which alone reads it. */
public final class TenantAccount {
    private final String name;
    private final int number;
    private final TenantShare share;
    /** The minimum of DRAM in whole regions. */
    private final long guaranteed;

    private final long mostUnevictable;
    private long dramBytes;
    private long regionBytes;
    private long reservedBytes;
    private long quarantinedBytes;
    private long ssdBytes;
    private long leasedBytes;
    private int leases;
    private int leaseNumbers;
    private int connections;

    TenantAccount(
            final String name,
            final int number,
            final TenantShare share,
            final long guaranteed,
            final long mostUnevictable) {
        this.guaranteed = guaranteed;
        this.mostUnevictable = mostUnevictable;
        this.name = name;
        this.number = number;
        this.share = share;
    }

    public String name() {
        return name;
    }

    /** From 0, in the order in which the tenants were met. */
    public int number() {
        return number;
    }

    public TenantShare share() {
        return share;
    }

    // ---- what it may have

    /** False when so many more bytes of regions would exceed the maximum. */
    public boolean mayGrow(final long more) {
        return more <= freeOfMaximum();
    }

    /** Bytes of regions up to the maximum. */
    public long freeOfMaximum() {
        return share.dramMax() - regionBytes;
    }

    /** True when so many more bytes of regions are part of the minimum, so that others have to give them. */
    public boolean isOwed(final long more) {
        return regionBytes + more <= guaranteed;
    }

    /** True when others may take so many bytes of its regions. */
    public boolean maySpare(final long bytes) {
        return regionBytes - bytes >= guaranteed;
    }

    /** True when it keeps its minimum of DRAM in objects without so many bytes of slots. */
    public boolean maySpareSlots(final long bytes) {
        return dramBytes - bytes >= guaranteed;
    }

    /** False when so many more bytes on SSD would exceed the maximum. */
    public boolean mayWrite(final long more) {
        return ssdBytes + more <= share.ssdMax();
    }

    /** Bytes of regions beyond the minimum. */
    long excess() {
        return regionBytes - guaranteed;
    }

    /** Bytes that it may keep from being evicted, in one way: more would be what others are guaranteed. */
    public long mostUnevictable() {
        return mostUnevictable;
    }

    /** False when the slots that its processes may write would take what others are guaranteed. */
    public boolean mayReserve(final long more) {
        return reservedBytes + quarantinedBytes + more <= mostUnevictable;
    }

    /**
     * Bytes that it may still lease. What it is guaranteed it may always lease.
     *
     * @param leftByAll what all tenants together may still lease
     */
    public long leasable(final long leftByAll) {
        return Math.max(guaranteed - leasedBytes, Math.min(mostUnevictable - leasedBytes, leftByAll));
    }

    // ---- what it has

    /** Slots in DRAM that hold or await an object. */
    public long dramBytes() {
        return dramBytes;
    }

    public void dram(final long more) {
        dramBytes += more;
        assert dramBytes >= 0 : name + " has less than nothing in DRAM";
    }

    /** Region files of DRAM, whatever is in them. */
    public long regionBytes() {
        return regionBytes;
    }

    public void regions(final long more) {
        regionBytes += more;
        assert regionBytes >= 0 : name + " has less than no regions";
    }

    /** Slots that connected engines write; part of {@link #dramBytes}. */
    public long reservedBytes() {
        return reservedBytes;
    }

    public void reserved(final long more) {
        reservedBytes += more;
        assert reservedBytes >= 0 : name + " has less than nothing reserved";
    }

    /** Slots that departed processes may still write; no part of {@link #dramBytes}. */
    public long quarantinedBytes() {
        return quarantinedBytes;
    }

    public void quarantined(final long more) {
        quarantinedBytes += more;
        assert quarantinedBytes >= 0 : name + " has less than nothing quarantined";
    }

    /** Slots that its sessions have leased, each counted once, or are about to. */
    public long leasedBytes() {
        return leasedBytes;
    }

    public void leased(final long more) {
        leasedBytes += more;
        assert leasedBytes >= 0 : name + " has less than nothing leased";
    }

    public int leases() {
        return leases;
    }

    /** Cells of its leases, with what these take beside. */
    public int leaseNumbers() {
        return leaseNumbers;
    }

    public void leases(final int more, final int moreNumbers) {
        leases += more;
        leaseNumbers += moreNumbers;
        assert leases >= 0 && leaseNumbers >= 0 : name + " has fewer leases than none";
    }

    /** Slots on SSD of objects that lookups may find there, those that are being written included. */
    public long ssdBytes() {
        return ssdBytes;
    }

    public void ssd(final long more) {
        ssdBytes += more;
        assert ssdBytes >= 0 : name + " has less than nothing on SSD";
    }

    /** Connections that have said Hello. */
    public int connections() {
        return connections;
    }

    public void connected(final int more) {
        connections += more;
        assert connections >= 0 : name + " has less than no connections";
    }
}
