# The expert kit: `snakemake rating_kit` writes it, `snakemake ratings` reads the answers. Neither is part of `all`.
#
# in:  {study}/{model}/{run}/{method}/maps.h5 of the first fold and seed; the answers that raters saved as CSV
# out: rating_kit/{study}/rating.html for the raters, who may have nothing else; {study}/rating/key.tsv, which stays here
#      {study}/rating/ratings.tsv agreement.tsv methods.tsv expert_metrics.tsv


localrules:
    rating_kit,
    ratings,


rule rating_kit:
    """A page for experts, per study."""
    input:
        [
            f"{RESULTS}/rating_kit/{study}/rating.html"
            for study in STUDIES
            if rated_maps(study)
        ],


rule draw_kit:
    """Draw the heatmaps of {wildcards.study} for experts who do not learn whose they are."""
    input:
        maps=lambda wildcards: rated_maps(wildcards.study),
        cohort=rules.prepare.output.cohort,
        participants=rules.prepare.output.participants,
    output:
        page=f"{RESULTS}/rating_kit/{{study}}/rating.html",
        # Another key would make the answers unreadable, so a kit is drawn anew only if this one is deleted (or by an
        # administrator, whom no protection stops; the key also stays under the kit's own id).
        key=protected(f"{RESULTS}/{{study}}/rating/key.tsv"),
    log:
        f"{RESULTS}/logs/draw_kit/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/draw_kit/{{study}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(4000, 60),
    params:
        job=lambda wildcards: {
            "study": wildcards.study,
            "study_seed": SEED,
            "fold": 0,
            "seed": study_of(wildcards)["seeds"][0],
            "spec": {
                key: study_of(wildcards)["rating"][key]
                for key in ("n_scans", "n_repeats", "tasks", "scale")
            },
        },
        code=source_digest("heatproof.stages.rating_kit"),
        templates=lambda wildcards: {
            path.name: path.read_text(encoding="utf-8")
            for path in sorted(
                Path(PACKAGE_ROOT, "heatproof/publication/templates").glob("rating.*")
            )
        },
    script:
        "../scripts/rating_kit.py"


rule ratings:
    """What the experts answered, for every study with answers."""
    input:
        lambda wildcards: [
            f"{RESULTS}/{study}/rating/agreement.tsv" for study in answered_studies()
        ],


rule read_ratings:
    """Read the answers of the experts who rated heatmaps of {wildcards.study}."""
    input:
        answers=lambda wildcards: answers(wildcards.study),
        scores=rules.collect.output.scores,
        probes=rules.collect.output.probes,
    output:
        **{
            name: f"{RESULTS}/{{study}}/rating/{name}.tsv"
            for name in ("ratings", "agreement", "methods", "expert_metrics")
        },
    log:
        f"{RESULTS}/logs/read_ratings/{{study}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_ratings/{{study}}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        **grown(2000, 30),
    params:
        # No input: answers in hand are read with the key of their kit, which must not be drawn anew for it.
        key=lambda wildcards: kit_file(wildcards.study),
        kit=lambda wildcards: data_state(kit_file(wildcards.study), Path(".")),
        seed=SEED,
        n_bootstrap=lambda wildcards: study_of(wildcards)["metrics"]["n_bootstrap"],
        code=source_digest("heatproof.stages.ratings"),
    script:
        "../scripts/ratings.py"
