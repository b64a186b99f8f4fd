@echo off
rem Sets Graft up in its own .venv and serves it with Uvicorn. "startup.bat --help" says the rest.
setlocal EnableExtensions DisableDelayedExpansion
cd /d "%~dp0"

set "MODE=serve"
set "SERVE="
set "DEV="
set "PROD="

:options
if "%~1"=="" goto options_done
if "%~1"=="--dev" (set "DEV=1" & set "SERVE=%SERVE% --reload" & shift & goto options)
if "%~1"=="--prod" (set "PROD=1" & shift & goto options)
if "%~1"=="--setup" (set "MODE=setup" & shift & goto options)
if "%~1"=="--test" (set "MODE=test" & shift & goto options)
if "%~1"=="--port" goto option_port
if "%~1"=="--host" goto option_host
if "%~1"=="-h" goto help
if "%~1"=="--help" goto help
>&2 echo error: startup.bat has no option '%~1'.
>&2 echo startup.bat --help lists them.
exit /b 2

:option_port
if "%~2"=="" (>&2 echo error: --port takes a number from 0 to 65535.& exit /b 2)
set "SERVE=%SERVE% --port %~2"
shift
shift
goto options

:option_host
if "%~2"=="" (>&2 echo error: --host takes an address.& exit /b 2)
set "SERVE=%SERVE% --host %~2"
shift
shift
goto options

:options_done
if defined DEV if defined PROD (>&2 echo error: --dev and --prod exclude each other.& exit /b 2)

rem -- Python ----------------------------------------------------------------------------------------------------------

set "BIN=.venv\Scripts"
set "SUPPORTED=import sys; sys.exit(not sys.version_info[:2] >= (3, 11))"
set "VENV_PYTHON=%BIN%\python.exe"
"%VENV_PYTHON%" -c "%SUPPORTED%" >nul 2>&1 && "%VENV_PYTHON%" -c "import pip" >nul 2>&1 && goto install

set "FOUND="
if defined PYTHON set "FOUND="%PYTHON%""
if not defined FOUND for %%V in (3.13 3.12 3.11 3.14) do if not defined FOUND py -%%V -c "%SUPPORTED%" >nul 2>&1 && set "FOUND=py -%%V"
if not defined FOUND python -c "%SUPPORTED%" >nul 2>&1 && set "FOUND=python"
if not defined FOUND (
    >&2 echo error: there is no Python 3.11 or newer. Get it from python.org
    exit /b 2
)
echo Making .venv ...
rem --clear repairs one that was cut off half-way, or whose Python is gone.
%FOUND% -m venv --clear .venv || (>&2 echo error: %FOUND% -m venv .venv failed, see above.& exit /b 2)

rem -- Packages --------------------------------------------------------------------------------------------------------

:install
call :install_list requirements.txt || exit /b 2
if "%MODE%"=="test" goto tests

rem -- What the example needs ------------------------------------------------------------------------------------------

if not defined GRAFT_LEGACY set "EXAMPLE=1"
if defined GRAFT_LEGACY if "%GRAFT_LEGACY:~0,13%"=="legacy_flask:" set "EXAMPLE=1"
if not defined GRAFT_LEGACY if exist .env findstr /r /c:"^ *GRAFT_LEGACY *=" .env >nul && set "EXAMPLE="
if not defined EXAMPLE goto prepared
if not exist legacy_flask goto prepared
if exist .venv\.prepared if exist var fc /b .venv\.prepared .venv\.installed-requirements.txt >nul 2>&1 && goto prepared
"%VENV_PYTHON%" -m flask --app legacy_flask build-catalogue || (>&2 echo error: the example's catalogue could not be built, see above.& exit /b 2)
set "OF_HERE=--gateway ."
if defined GRAFT_DATA set "OF_HERE="
"%VENV_PYTHON%" -m graft %OF_HERE% index || (>&2 echo warning: the search index could not be built, see above; all but search works.& goto prepared)
copy /y .venv\.installed-requirements.txt .venv\.prepared >nul

:prepared
if "%MODE%"=="setup" (echo Ready. startup.bat serves, startup.bat --test runs the tests.& exit /b 0)

rem Gunicorn does not run on Windows: --prod is Uvicorn with a worker for each core there.
if defined PROD if not defined WEB_CONCURRENCY set "WEB_CONCURRENCY=%NUMBER_OF_PROCESSORS%"
"%VENV_PYTHON%" gateway.py%SERVE%
exit /b %ERRORLEVEL%

rem -- Tests -----------------------------------------------------------------------------------------------------------

:tests
call :install_list requirements-dev.txt || exit /b 2
"%BIN%\ruff" check . || exit /b 1
"%BIN%\ruff" format --check . || exit /b 1
"%BIN%\mypy" || exit /b 1
"%VENV_PYTHON%" -m pytest -n 3 --dist loadgroup --cov --cov-branch --cov-report=term --cov-fail-under=94
exit /b %ERRORLEVEL%

rem -- Install the list %1, unless a copy of it says that it is installed already -----------------------------------------

:install_list
fc /b "%~1" ".venv\.installed-%~1" >nul 2>&1 && exit /b 0
echo Installing %~1 ...
if "%~1"=="requirements.txt" if exist requirements.lock "%VENV_PYTHON%" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock || (
    >&2 echo error: pip could not install requirements.lock, see above. Without a network, point PIP_FIND_LINKS at a folder of wheels.
    exit /b 2
)
"%VENV_PYTHON%" -m pip install --quiet --disable-pip-version-check --requirement "%~1" || (
    >&2 echo error: pip could not install %~1, see above. Without a network, point PIP_FIND_LINKS at a folder of wheels.
    exit /b 2
)
"%VENV_PYTHON%" -m pip install --quiet --disable-pip-version-check --no-deps --editable . >nul 2>&1 || echo note: the graft command could not be installed; %VENV_PYTHON% -m graft does the same.
copy /y "%~1" ".venv\.installed-%~1" >nul
exit /b 0

:help
echo Usage: startup.bat [OPTION]...
echo.
echo Makes .venv, installs the pinned requirements, builds the example's catalogue and search index, and serves the gateway
echo on http://127.0.0.1:8000 under Uvicorn. What is done already is not done again: the next start is quick.
echo.
echo   --dev          serve with reload: a change in a file starts it again
echo   --prod         serve with a worker for each core
echo   --setup        set up, don't serve
echo   --test         install requirements-dev.txt too, and run the tests: ruff, mypy, pytest with branch coverage
echo   --port N       listen on port N           (or PORT in the environment or .env; 8000)
echo   --host ADDR    listen on this address     (or HOST; 127.0.0.1, which is this machine only)
echo   -h, --help     show this
echo.
echo Your own Flask app:   set GRAFT_LEGACY=yourpackage:create_app
echo On every network:     startup.bat --prod --host 0.0.0.0 --port 8080
echo Another Python:       set PYTHON=C:\Python313\python.exe
exit /b 0
