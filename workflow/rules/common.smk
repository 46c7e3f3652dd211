# What the files of this folder share: the completed config and the functions that turn it into paths.
#
# Comes in: config (one YAML file, or several merged)
# Goes out: STUDIES, RESULTS, SEED, DATA_ROOT; paths and parameters by study, model, method, fold and seed
import os
import sys
from pathlib import Path

PACKAGE_ROOT = str(Path(workflow.basedir) / "workflow")
if PACKAGE_ROOT not in sys.path:
    sys.path.insert(0, PACKAGE_ROOT)
# Jobs are processes of their own and find the package the same way.
os.environ.update(
    PYTHONPATH=os.pathsep.join([PACKAGE_ROOT, *filter(None, [os.getenv("PYTHONPATH")])])
)

from heatproof import configuration, rating, simulators, studies
from heatproof.cohorts.folders import inside
from heatproof.errors import HeatproofError
from heatproof.figures.catalogue import FIGURES
from heatproof.hardware import has_gpu
from heatproof.provenance import data_state, named_paths, source_digest
from heatproof.publication.captions import TABLES
from snakemake.exceptions import WorkflowError

try:
    SETTINGS = configuration.complete(config, ", ".join(map(str, workflow.configfiles)))
except HeatproofError as error:
    raise WorkflowError(str(error))

STUDIES = SETTINGS["studies"]
RESULTS = SETTINGS["results"]
SEED = SETTINGS["seed"]
DATA_ROOT = SETTINGS["data_root"]
# Keys of the metrics section that only tables read.
RESAMPLING = ("n_bootstrap", "n_permutations")
# Training and attribution queue for the GPU of this machine only where it has one (see profiles/default);
# profiles/slurm shows how to ask for one of a cluster's.
LOCAL_GPU = int(has_gpu())
RUN = "fold-{fold}_seed-{seed}"
# Matches the name of no study.
NO_STUDY = "(?!)"
# What `probe` writes beside each run, and what of it `collect` joins.
PROBE_FILES = {
    "probes": "parquet",
    "curves": "parquet",
    "spreads": "parquet",
    "exclusions": "parquet",
    "examples": "h5",
}


def maps_file(path):
    """Return a maps file as a temporary one, unless the config keeps maps."""
    return path if SETTINGS["keep_maps"] else temp(path)


def study_of(wildcards):
    return STUDIES[wildcards.study]


def model_of(wildcards):
    return study_of(wildcards)["models"][wildcards.model]


def batches():
    """Yield the rules that stages over methods become: a suffix, the study, the model, the methods of one job.

    A study whose methods run one by one is served by the rule without a suffix. Where they run together each model has
    a rule of its own, because a rule has to name its files.
    """
    apart = [
        name for name in STUDIES if STUDIES[name]["attribution"]["jobs"] == "method"
    ]
    yield "", "|".join(apart) or NO_STUDY, "[a-z][a-z0-9_]*", ["{method}"]
    for study in STUDIES:
        for model in STUDIES[study]["models"] if study not in apart else ():
            # Capitals stand in no name of a study or model, so that no two rules are called alike.
            yield f"_{model}_OF_{study}", study, model, studies.methods_of(
                STUDIES[study], model
            )


# The resources that a profile gives a rule over methods are given to the rules of its batches too.
asked = workflow.resource_settings.overwrite_resources
for rule_name in {"attribute", "score", "pool"}.intersection(asked):
    asked.update({rule_name + suffix: asked[rule_name] for suffix, *_ in batches()})


def of_batch(methods, pattern):
    """Return a path of every method of a batch, below the folder of its study and model."""
    base = f"{RESULTS}/{{study}}/{{model}}/"
    return [base + pattern.replace("{method}", method) for method in methods]


def batch_name(methods):
    """Return what logs and benchmarks of a batch are called."""
    return methods[0] if methods == ["{method}"] else "methods"


def methods_here(wildcards):
    """Return the ids of the methods of a job: the one in its path, or all that explain its model."""
    if "method" in wildcards.keys():
        return [wildcards.method]
    return studies.methods_of(study_of(wildcards), wildcards.model)


def attribution_job(wildcards, method):
    """Return what the explanation by one method reads of the config, and nothing else."""
    study = study_of(wildcards)
    entry, section = study["methods"][method], dict(study["attribution"])
    # The target stands in the method's own entry; which methods run, and in how many jobs, changes no map.
    del section["methods"], section["target"], section["jobs"]
    if not studies.needs_background(entry):
        del section["n_background"]
    return {
        "model": wildcards.model,
        "recipe": model_of(wildcards)["recipe"],
        "method": method,
        "entry": entry,
        "fold": int(wildcards.fold),
        "seed": int(wildcards.seed),
        "study_seed": SEED,
        **section,
    }


def metrics_of(wildcards, without):
    """Return the metrics section less what a rule does not read, so that it is not run again for it."""
    section = study_of(wildcards)["metrics"]
    return {key: value for key, value in section.items() if key not in without}


def runs(study, pattern, models=None):
    """Return a path for every model, fold and seed of a study; `pattern` begins below the run's folder."""
    entry = STUDIES[study]
    return [
        f"{RESULTS}/{study}/{model}/fold-{fold}_seed-{seed}/{pattern}"
        for model in (models or entry["models"])
        for fold in range(entry["folds"]["n_folds"])
        for seed in entry["seeds"]
    ]


def explained(study, pattern, models=None):
    """Return a path for every model, fold, seed and method of a study; `pattern` begins below the method's."""
    return [
        path
        for model in (models or STUDIES[study]["models"])
        for method in studies.methods_of(STUDIES[study], model)
        for path in runs(study, f"{method}/{pattern}", [model])
    ]


def maps_of_run(wildcards):
    """Return the maps of every method that explains a model, for one fold and seed."""
    run = f"{RESULTS}/{wildcards.study}/{wildcards.model}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    methods = studies.methods_of(study_of(wildcards), wildcards.model)
    return [f"{run}/{method}/maps.h5" for method in methods]


def randomised_maps(wildcards):
    """Return maps that say which scans of a run are explained, of a method that waits for no simulator if it can."""
    run = f"{RESULTS}/{wildcards.study}/{wildcards.model}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    methods = studies.randomised_methods(study_of(wildcards), wildcards.model)
    return f"{run}/{methods[0]}/maps.h5" if methods else maps_of_run(wildcards)[0]


def probed(study, pattern, questions):
    """Return a path for every run that is probed by any of the questions (see studies.PROBED_BY)."""
    models = studies.probed_models(STUDIES[study], questions)
    return runs(study, pattern, models) if models else []


def examples(study):
    """Return the scans kept for the gallery: those of the first fold and seed of every probed model."""
    return [
        f"{RESULTS}/{study}/{model}/fold-0_seed-{STUDIES[study]['seeds'][0]}/examples.h5"
        for model in studies.probed_models(STUDIES[study], "probe")
    ]


def agreements(study):
    """Return the comparisons of retrained networks that a study asks for."""
    models = studies.probed_models(STUDIES[study], "agree")
    return [f"{RESULTS}/{study}/{model}/pooled/agreement.parquet" for model in models]


def probe_job(wildcards, stage, fold=-1, seed=-1):
    """Return what a stage that probes a model reads of the config, and nothing else."""
    study = study_of(wildcards)
    job = {
        "study": wildcards.study,
        "model": wildcards.model,
        "recipe": model_of(wildcards)["recipe"],
        "study_seed": SEED,
        "fold": int(fold),
        "seed": int(seed),
        "spec": studies.probes_of(study, stage),
        "rectify": study["metrics"]["scan_rectify"],
    }
    if stage == "probe":
        job["keep_examples"] = (int(fold), int(seed)) == (0, study["seeds"][0])
    if stage == "randomise":
        methods = studies.randomised_methods(study, wildcards.model)
        job["methods"] = {name: study["methods"][name] for name in methods}
        section = study["attribution"]
        job["attribution"] = {
            key: section[key] for key in ("batch_size", "n_background", "precision")
        }
    return job


def pooled(study, pattern):
    """Return a path for every model and method of a study, all folds and seeds together."""
    return [
        f"{RESULTS}/{study}/{model}/pooled/{method}/{pattern}"
        for model in STUDIES[study]["models"]
        for method in studies.methods_of(STUDIES[study], model)
    ]


def truths(study):
    """Return the path of every truth of a study."""
    return [
        f"{RESULTS}/{study}/truths/{truth}.h5" for truth in STUDIES[study]["truths"]
    ]


def study_targets(study):
    """Return what a finished study consists of."""
    return [
        f"{RESULTS}/{study}/scores.parquet",
        f"{RESULTS}/{study}/leakage.tsv",
        *pooled(study, "group.h5"),
        *tables(study),
        *figures(study),
    ]


def tables(study):
    return [f"{RESULTS}/{study}/tables/{name}.tsv" for name in TABLES]


def figures(study):
    return [
        f"{RESULTS}/{study}/figures/{name}.{kind}"
        for name in FIGURES
        for kind in ("svg", "png")
    ]


def named_files(entry):
    """Return the files that a config entry names and that exist: a change of them reruns what reads them."""
    return [str(path) for path in named_paths(entry, Path(DATA_ROOT)) if path.is_file()]


def own_files(cohort):
    """Return the files that a cohort names and that are not fetched: those are there later, and known by checksums."""
    folders = [Path(DATA_ROOT) / folder for folder in studies.fetched_folders(cohort)]
    return [
        file
        for file in named_files(cohort)
        if not any(Path(file).is_relative_to(folder) for folder in folders)
    ]


def fetched_data(wildcards):
    """Return the table of what was fetched, for the studies whose data are."""
    if not study_of(wildcards)["cohort"].get("fetch", False):
        return []
    return f"{RESULTS}/{wildcards.study}/fetched.tsv"


def fetched_part(wildcards):
    """Return the keys of a cohort that say what is fetched, and where to."""
    cohort = study_of(wildcards)["cohort"]
    return {key: cohort[key] for key in studies.FETCH_KEYS if key in cohort}


def prepared_part(wildcards):
    """Return the keys of a cohort that say what is made of the data."""
    cohort = study_of(wildcards)["cohort"]
    ways = ("fetch", "dataset", "url", "sha256", "files")
    return {key: value for key, value in cohort.items() if key not in ways}


def grown(megabytes, minutes):
    """Return the resources of a rule: memory and time double with every attempt."""
    return {
        "mem_mb": lambda wildcards, attempt: megabytes * 2 ** (attempt - 1),
        "runtime": lambda wildcards, attempt: minutes * 2 ** (attempt - 1),
    }


def twin_weights(wildcards):
    """Return the weights of a run's twin, which was trained on permuted labels."""
    return f"{RESULTS}/{wildcards.study}/{wildcards.model}-permuted/{RUN}/model.safetensors"


def permuted_weights(wildcards):
    """Return the weights trained on permuted labels, for the methods that explain those."""
    entries = [
        study_of(wildcards)["methods"][method] for method in methods_here(wildcards)
    ]
    return (
        twin_weights(wildcards)
        if any(studies.needs_permuted(entry) for entry in entries)
        else []
    )


def fitting_job(wildcards):
    """Return what the fit of a simulator reads of the config, and nothing else."""
    return {
        "model": wildcards.model,
        "recipe": model_of(wildcards)["recipe"],
        "simulator": wildcards.simulator,
        "entry": study_of(wildcards)["simulators"][wildcards.simulator],
        "fold": int(wildcards.fold),
        "seed": int(wildcards.seed),
        "study_seed": SEED,
    }


def simulation_job(wildcards):
    """Return what the judgement of a run's simulators reads of the config, and nothing else."""
    study, fold, seed = study_of(wildcards), int(wildcards.fold), int(wildcards.seed)
    return {
        "study": wildcards.study,
        "model": wildcards.model,
        "recipe": model_of(wildcards)["recipe"],
        "fold": fold,
        "seed": seed,
        "study_seed": SEED,
        "spec": simulators.simulation_of_run(study, fold, seed),
        "cohort": simulators.counterfactual_cohort(study, wildcards.model),
        "root": DATA_ROOT,
    }


def referee_weights(wildcards):
    """Return the network of the same fold and another seed that judges a run's simulators, if there is one."""
    seed = simulators.referee_seed(study_of(wildcards), int(wildcards.seed))
    if seed is None:
        return []
    return f"{RESULTS}/{wildcards.study}/{wildcards.model}/fold-{wildcards.fold}_seed-{seed}/model.safetensors"


def fitted_to(wildcards):
    """Return the simulators that are fitted to the network of a run, in the order of the config."""
    base = f"{RESULTS}/{wildcards.study}/{wildcards.model}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    names = studies.simulators_of(study_of(wildcards), wildcards.model)
    return [f"{base}/simulators/{name}.safetensors" for name in names]


def simulated(study, pattern):
    """Return a path for every run that simulators are fitted to; `pattern` begins below the run's folder."""
    models = studies.simulated_models(STUDIES[study])
    return runs(study, pattern, models) if models else []


def simulated_examples(study):
    """Return the simulated scans kept for figures: those of the first fold and seed of every model with simulators."""
    return [
        f"{RESULTS}/{study}/{model}/fold-0_seed-{STUDIES[study]['seeds'][0]}/simulations.h5"
        for model in studies.simulated_models(STUDIES[study])
    ]


def shown_simulators(wildcards):
    """Return the fitted simulators that the methods of a job show."""
    names = studies.fitted_simulators(
        study_of(wildcards), wildcards.model, methods_here(wildcards)
    )
    base = f"{RESULTS}/{wildcards.study}/{wildcards.model}/fold-{wildcards.fold}_seed-{wildcards.seed}"
    return [f"{base}/simulators/{name}.safetensors" for name in names]


def rated_maps(study):
    """Return the maps that experts rate: of the first fold and seed of every model that has any."""
    run = f"fold-0_seed-{STUDIES[study]['seeds'][0]}"
    return [
        f"{RESULTS}/{study}/{model}/{run}/{method}/maps.h5"
        for model in rating.rated_models(STUDIES[study])
        for method in rating.rated_methods(STUDIES[study], model)
    ]


def kit_file(study):
    return f"{RESULTS}/{study}/rating/key.tsv"


def answers_folder(study):
    """Return the folder into which the raters' CSV files of a study are put."""
    chosen = STUDIES[study]["rating"]["answers"]
    if chosen is None:
        return Path(f"{RESULTS}/rating_kit/{study}/answers")
    try:
        return inside(DATA_ROOT, chosen, field=f"studies.{study}.rating.answers")
    except HeatproofError as error:
        raise WorkflowError(str(error))


def answers(study):
    """Return the raters' CSV files of a study."""
    return sorted(map(str, answers_folder(study).glob("*.csv")))


def answered_studies():
    """Return the studies with answers to read."""
    found = [study for study in STUDIES if answers(study)]
    if not found:
        folders = ", ".join(str(answers_folder(study)) for study in STUDIES)
        raise WorkflowError(
            f"there are no answers of raters. Remedy: put their CSV files into {folders}."
        )
    return found
