/**
 * The programs behind the suites {@code control}, {@code ssd} and {@code cluster} of {@code kvasir bench}: each measures
 * its limit in the same run as the part of Kvasir. The Python side starts them and judges their figures.
 */
package io.kvasir.bench.suite;
