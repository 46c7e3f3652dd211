# Tables, figures and the report.
#
# in:  {study}/scores.parquet areas.parquet nulls.parquet, the tables of every run, group maps, truths
# out: {study}/tables/*.tsv, {study}/figures/*.{svg,png}, report.html


rule tabulate:
    """Condense the numbers of {wildcards.study} into tables."""
    input:
        scores=rules.collect.output.scores,
        areas=rules.collect.output.areas,
        nulls=rules.collect.output.nulls,
        probes=rules.collect.output.probes,
        curves=rules.collect.output.curves,
        spreads=rules.collect.output.spreads,
        exclusions=rules.collect.output.exclusions,
        simulations=rules.collect.output.simulations,
        intake=rules.prepare.output.intake,
        volumes=rules.prepare.output.volumes,
        cohort=rules.prepare.output.cohort,
        predictions=lambda wildcards: runs(wildcards.study, "predictions.tsv"),
        certificates=lambda wildcards: runs(wildcards.study, "certificate.tsv"),
    output:
        **{
            name: report(
                f"{RESULTS}/{{study}}/tables/{name}.tsv",
                caption=f"../report/table_{name}.rst",
                category="{study}",
                subcategory="tables",
                labels={"table": name.replace("_", " ")},
            )
            for name in TABLES
        },
    log:
        f"{RESULTS}/logs/tabulate/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tabulate/{{study}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 60),
    params:
        models=lambda wildcards: study_of(wildcards)["models"],
        methods=lambda wildcards: study_of(wildcards)["methods"],
        simulators=lambda wildcards: study_of(wildcards)["simulators"],
        settings=lambda wildcards: [
            setting
            for key in ("settings", "published_settings")
            for setting in study_of(wildcards)["probes"]["information"][key]
        ],
        resampling=lambda wildcards: {
            key: study_of(wildcards)["metrics"][key] for key in RESAMPLING
        },
        seed=SEED,
        code=source_digest("heatproof.stages.tabulate"),
    script:
        "../scripts/tabulate.py"


rule plot:
    """Draw every figure of {wildcards.study}."""
    input:
        **{f"table_{name}": f"{RESULTS}/{{study}}/tables/{name}.tsv" for name in TABLES},
        areas=rules.collect.output.areas,
        curves=rules.collect.output.curves,
        examples=lambda wildcards: examples(wildcards.study),
        simulations=lambda wildcards: simulated_examples(wildcards.study),
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
        volumes=rules.prepare.output.volumes,
        truths=lambda wildcards: truths(wildcards.study),
        group_maps=lambda wildcards: pooled(wildcards.study, "group.h5"),
        histories=lambda wildcards: runs(wildcards.study, "history.tsv"),
        predictions=lambda wildcards: runs(wildcards.study, "predictions.tsv"),
    output:
        **{
            f"{name}_{kind}": (
                report(
                    f"{RESULTS}/{{study}}/figures/{name}.{kind}",
                    caption=f"../report/figure_{name}.rst",
                    category="{study}",
                    subcategory="figures",
                    labels={"figure": name.replace("_", " ")},
                )
                if kind == "svg"
                else f"{RESULTS}/{{study}}/figures/{name}.{kind}"
            )
            for name in FIGURES
            for kind in ("svg", "png")
        },
    log:
        f"{RESULTS}/logs/plot/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot/{{study}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 60),
    params:
        models=lambda wildcards: study_of(wildcards)["models"],
        seed=SEED,
        code=source_digest("heatproof.stages.plot"),
    script:
        "../scripts/plot.py"


rule report:
    """Write the one page that answers which heatmaps can be trusted."""
    input:
        [path for study in STUDIES for path in tables(study) + figures(study)],
        [
            f"{RESULTS}/{study}/{name}"
            for study in STUDIES
            for name in ("cohort.h5", "participants.tsv", "leakage.tsv")
        ],
    output:
        f"{RESULTS}/report.html",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 30),
    params:
        studies=STUDIES,
        results=lambda wildcards, output: str(Path(output[0]).parent),
        seed=SEED,
        code=source_digest("heatproof.stages.report"),
        # Templates and styles are data of the package, which the digest of its code does not see.
        templates=lambda wildcards: {
            path.name: path.read_text(encoding="utf-8")
            for path in sorted(
                Path(PACKAGE_ROOT, "heatproof/publication/templates").glob("*.*")
            )
            if path.stem.split(".")[0] in ("report", "parts")
        },
    script:
        "../scripts/report.py"
