package io.kvasir.ops;

import java.util.List;
import java.util.function.Predicate;

/** What a node needs of its Java runtime. One that jlink made may lack some of it, which would show only at its use. */
final class RuntimeModules {
    private static final List<String> NEEDED = List.of(
            "java.desktop",
            "java.logging",
            "java.management",
            "java.naming",
            "java.sql",
            "java.xml",
            "jdk.httpserver",
            "jdk.management",
            "jdk.net",
            "jdk.unsupported");

    private RuntimeModules() {}

    /** Empty when nothing is missing; else a message that says what to do. */
    static String missing() {
        return missing(name -> ModuleLayer.boot().findModule(name).isPresent());
    }

    static String missing(final Predicate<String> isThere) {
        final List<String> missing = NEEDED.stream().filter(isThere.negate()).toList();
        return missing.isEmpty()
                ? ""
                : "the Java runtime in " + System.getProperty("java.home") + " has no module "
                        + String.join(", ", missing)
                        + "; use a whole JDK, or make the runtime with: jlink --add-modules "
                        + String.join(",", NEEDED);
    }
}
