/** The benchmark suite's Java half: each measures its limit in the same run. */
package io.kvasir.ops.bench;
