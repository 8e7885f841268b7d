package io.kvasir.storage.policy;

/**
 * How fast reuse falls with age, at the age at which objects leave: about as age^-slope. From uses up to an octave younger
 * than that, against uses up to an octave older; of what had left by then, its return counts.
 */
final class ReuseAges {
    /** Evictions over which the usual age is averaged. */
    private static final double AVERAGED = 512;
    /** Uses after which older ones count half. */
    private static final double WINDOW = 8192;
    /** Before anything was seen: a slope of 3, so that nothing is told apart too soon. */
    private static final double PRIOR_YOUNGER = 64;

    private static final double PRIOR_OLDER = 16;

    private double usualAge = Double.NaN;
    private double younger = PRIOR_YOUNGER;
    private double older = PRIOR_OLDER;

    /** An object left so long after its last use. */
    void left(final long age) {
        usualAge = Double.isNaN(usualAge) ? age : usualAge + (age - usualAge) / AVERAGED;
    }

    /** An object was used, or came back, so long after the use before. */
    void used(final long age) {
        if (age >= usualAge / 2 && age < usualAge) {
            younger++;
        } else if (age >= usualAge && age < usualAge * 2) {
            older++;
        } else {
            return;
        }
        if (younger + older > WINDOW) {
            younger /= 2;
            older /= 2;
        }
    }

    /** 1: each doubling of age has as many uses as the one before. More than 1 when they become fewer. */
    double slope() {
        return 1 - Math.log(older / younger) / Math.log(2);
    }
}
