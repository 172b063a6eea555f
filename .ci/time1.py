import sys,os,time,resource
os.environ["RAYON_NUM_THREADS"]=sys.argv[2]
import numpy as np, stereotax as sx
def cpu(): 
    r=resource.getrusage(resource.RUSAGE_SELF); return r.ru_utime+r.ru_stime
if sys.argv[1]=='banded':
    rng = np.random.default_rng(6)
    n, n_voxels = 1000, 2000
    bands = [rng.normal(size=(n, p)) for p in (300, 300, 600, 1000)]
    shares = rng.uniform(size=(4, n_voxels))
    responses = sum(x[:, :20] @ rng.normal(size=(20, n_voxels)) * share for x, share in zip(bands, shares))
    responses += 5 * rng.normal(size=responses.shape)
    responses = (responses - responses.mean(axis=0)).astype(np.float32)
    kernels = np.stack([x @ x.T for x in bands])
    draws = np.vstack([np.full(4, 0.25)] + [rng.dirichlet([0.1 if i % 2 else 1.0] * 4) for i in range(1, 100)])
    alphas = np.logspace(0, 5, 20)
    for cv in (5,'gcv'):
        for k in (1,9):
            c,w=cpu(),time.time()
            m=sx.BandedRidgeCV("precomputed", draws=draws[:k], alphas=alphas, alpha_scale="absolute", fit_intercept=False, cv=cv)
            s=m.fit(list(kernels), responses).best_score_
            print(cv,k,'cpu',cpu()-c,'wall',time.time()-w,s[:3])
else:
    rng = np.random.default_rng(5)
    n, p, n_voxels = 3600, 4096, int(sys.argv[3])
    features = (rng.normal(size=(n, p)) / np.sqrt(1 + np.arange(p) / 50)).astype(np.float32)
    responses = features[:, :100] @ rng.normal(size=(100, n_voxels)).astype(np.float32)
    responses += rng.uniform(2, 60, size=n_voxels).astype(np.float32) * rng.normal(size=(n, n_voxels)).astype(np.float32)
    alphas = np.logspace(-1, 6, 20)
    model = sx.RidgeCV(alphas, alpha_scale="absolute", fit_intercept=False, cv=5)
    c,w=cpu(),time.time()
    f=model.fit(features, responses).alpha_.copy()
    print('wide',n_voxels,'cpu',cpu()-c,'wall',time.time()-w, f[:5], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss//1024)
