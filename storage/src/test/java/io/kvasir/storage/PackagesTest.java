package io.kvasir.storage;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/** This package joins those below it, so they must not refer to it, and form no circle. */
class PackagesTest {
    private static final String HERE = "io.kvasir.storage";
    private static final JavaClasses CLASSES = new ClassFileImporter()
            .withImportOption(new ImportOption.DoNotIncludeTests())
            .importPackages(HERE);

    @Test
    void noPackagesBelowFormACircle() {
        slices().matching("io.kvasir.storage.(**)").should().beFreeOfCycles().check(CLASSES);
    }

    @Test
    void packagesBelowReferToNothingOfThisOne() {
        noClasses()
                .that()
                .resideInAPackage(HERE + ".*..")
                .should()
                .dependOnClassesThat()
                .resideInAPackage(HERE)
                .check(CLASSES);
    }
}
