package io.kvasir.storage;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.tngtech.archunit.core.domain.Dependency;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** This package joins those below it, so they must not refer to it, and form no circle. */
class PackagesTest {
    private static final String HERE = "io.kvasir.storage";
    private static final JavaClasses CLASSES = new ClassFileImporter()
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages(HERE);

    /** Classes of this package that packages below refer to. The list only shrinks. */
    private static final Set<String> REFERRED_TO = Set.of("ObjectStore");

    @Test
    void noPackagesBelowFormACircle() {
        slices().matching("io.kvasir.storage.(**)")
                .should()
                .beFreeOfCycles()
                .ignoreDependency(resideInAPackage("io.kvasir.storage.*.."), resideInAPackage(HERE))
                .check(CLASSES);
    }

    @Test
    void packagesBelowReferToNothingMoreOfThisOne() {
        final Set<String> found = new TreeSet<>();
        for (final JavaClass from : CLASSES) {
            if (!from.getPackageName().equals(HERE)) {
                for (final Dependency to : from.getDirectDependenciesFromSelf()) {
                    if (to.getTargetClass()
                            .getBaseComponentType()
                            .getPackageName()
                            .equals(HERE)) {
                        found.add(outermost(to.getTargetClass().getBaseComponentType()));
                    }
                }
            }
        }
        assertEquals(
                new TreeSet<>(REFERRED_TO),
                found,
                "take off the list what is not referred to any more; what is new belongs into a package below");
    }

    private static String outermost(final JavaClass inner) {
        JavaClass outer = inner;
        while (outer.getEnclosingClass().isPresent()) {
            outer = outer.getEnclosingClass().get();
        }
        return outer.getSimpleName();
    }
}
