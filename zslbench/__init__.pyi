# What type checkers and editors see of the functions that are imported on first use.

from zslbench import data as data
from zslbench import results as results
from zslbench.checks import check as check
from zslbench.inspection import info as info
from zslbench.inspection import list_
from zslbench.installation import doctor as doctor
from zslbench.results.records.watch import watch as watch
from zslbench.runner.executors import engine as engine
from zslbench.runner.fitted import fit as fit
from zslbench.runner.fitted import load_model as load_model
from zslbench.runner.plan import read_plan as read_plan
from zslbench.runner.run import run as run
from zslbench.scaffold import new_method as new_method
from zslbench.studies.ablate import ablate as ablate
from zslbench.studies.compare import compare as compare
from zslbench.studies.curve import curve as curve
from zslbench.studies.load import load as load
from zslbench.studies.load import load_predictions as load_predictions
from zslbench.studies.plot import plot as plot
from zslbench.studies.record_table import table as table
from zslbench.studies.report import report as report
from zslbench.studies.reproduce import reproduce as reproduce
from zslbench.studies.show import show as show
from zslbench.studies.status import status as status
from zslbench.studies.tune import tune as tune

__version__: str
list = list_  # noqa: A001
